import pytest
import torch
from tiny_models import ORIGINAL, VARIANTS, tiny_config, tiny_model

from anypo import Sample, collate, score_tokens
from anypo.models.load import frozen_copy
from anypo.models.rope import rotate_as_at

SHORT = Sample([65, 66, 67], [68, 69], group=0)
LONG = Sample(list(range(ORIGINAL)), list(range(20)), group=1)


def logprobs(model, samples):
    with torch.no_grad():
        return score_tokens(model, collate(samples), temperature=1.0).logprobs[0, :2]


@pytest.fixture(params=[kind for kind in VARIANTS if "dynamic" in kind or "longrope" in kind])
def stretching(request, tokenizer):
    """A model that rotates otherwise once a text is longer than those of pretraining."""
    return tiny_model(tiny_config(request.param, tokenizer))


def test_what_is_said_of_a_text_depends_on_no_other(stretching):
    assert not torch.allclose(logprobs(stretching, [SHORT]), logprobs(stretching, [SHORT, LONG]))
    rotate_as_at(stretching, 2 * ORIGINAL)
    for model in (stretching, frozen_copy(stretching)):
        alone, together = logprobs(model, [SHORT]), logprobs(model, [SHORT, LONG])
        torch.testing.assert_close(alone, together, rtol=0, atol=1e-5)


def test_where_no_text_is_long_nothing_changes(stretching):
    before = logprobs(stretching, [SHORT])
    rotate_as_at(stretching, ORIGINAL)
    assert torch.equal(logprobs(stretching, [SHORT]), before)


def test_positions_that_never_stretch_are_left_alone(model):
    rotate_as_at(model, 10**6)
    assert not [m for m in model.modules() if m._forward_pre_hooks or m._forward_hooks]
