"""The table of what the core provides only where it is needed."""

import inspect

from anypo import Batch
from anypo.hooks.requirements import LOGPROBS, REQUIRED_FOR, REQUIREMENTS


def test_every_requirement_has_words():
    assert all(requirement.about for requirement in REQUIREMENTS.values())


def test_every_tensor_of_the_table_is_one_that_plugins_know():
    assert REQUIRED_FOR.keys() <= inspect.get_annotations(Batch).keys()
    assert REQUIRED_FOR["ref_logprobs"] == "reference"


def test_log_probs_are_told_by_their_names():
    assert set(LOGPROBS) == REQUIRED_FOR.keys() - {"values", "old_entropy"}
