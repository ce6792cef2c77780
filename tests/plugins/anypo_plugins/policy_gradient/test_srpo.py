import math
from itertools import cycle

import pytest

from anypo import AnypoError, compose


def by_hand(rows, new, sg):
    gains = []
    for row in rows:
        for t in row.tokens:
            ratio = math.exp(new[row.index][t] - row.old[t])
            clipped = min(max(ratio, 0.8), 1.2)
            gains.append(min(ratio * row.advantage, clipped * row.advantage))
    return -sum(gains) / len(gains)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("srpo"), by_hand, *random_batch(seed))


@pytest.fixture
def outcomes():
    """Of `e` all are right, of `h` all are wrong, of `m` every second one."""
    worth = {"e": cycle([1.0]), "h": cycle([0.0]), "m": cycle([1.0, 0.0])}
    return lambda content, how: next(worth[content])


def test_a_prompt_that_was_all_right_is_not_drawn_for_again(deal, outcomes):
    algorithm, state = compose("srpo", knobs={"group_size": 2}), {}
    samples, drawn = deal(algorithm, ["e", "h", "m"], outcomes, state)
    assert [sample.group for sample in samples] == [0, 0, 1, 1, 2, 2]
    samples, drawn = deal(algorithm, ["h", "e", "m"], outcomes, state)
    assert drawn == [(["h", "m"], 2, {})]
    assert [sample.group for sample in samples] == [0, 0, 2, 2]
    assert [bytes(sample.prompt_ids) for sample in samples] == [b"h", b"h", b"m", b"m"]


def test_a_step_of_easy_prompts_draws_nothing(deal, outcomes):
    algorithm, state = compose("srpo"), {}
    deal(algorithm, ["e"], outcomes, state)
    assert deal(algorithm, ["e"], outcomes, state) == ([], [])


def test_what_counts_as_right_can_be_said(deal, outcomes):
    algorithm, state = compose("srpo", knobs={"right_above": 2.0}), {}
    for _ in range(2):
        assert len(deal(algorithm, ["e"], outcomes, state)[0]) == 8


def test_needs_no_reference_and_groups():
    assert compose("srpo").requires == {"old_logprobs"}
    with pytest.raises(AnypoError, match="group_size"):
        compose("srpo", knobs={"group_size": 1})
