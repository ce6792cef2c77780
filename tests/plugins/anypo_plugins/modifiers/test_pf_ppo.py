import math
from statistics import fmean

import pytest
import torch

from anypo import Batch, compose
from anypo.hooks.specs import beginning


def batch_of(rewards):
    rows = len(rewards)
    return Batch(
        mask=torch.ones(rows, 2).bool(),
        group=torch.arange(rows) // 2,
        rewards=torch.tensor(rewards, dtype=torch.float64),
        old_logprobs=torch.zeros(rows, 2, dtype=torch.float64),
    )


def drawn(rewards, steps, **knobs):
    """How often rows are hit over so many steps."""
    algorithm, state = compose("dapo", "pf_ppo", knobs=knobs), beginning(steps)
    hits = torch.zeros(len(rewards), dtype=torch.float64)
    for step in range(steps):
        state["step"] = step
        prepared = algorithm.prepare(batch_of(rewards), state)
        assert prepared["drawn"].sum() == len(rewards)
        hits += prepared["drawn"]
    return hits / hits.sum()


@pytest.mark.parametrize(
    ("knobs", "chances"),
    [
        ({}, [1, 4, 0, 4]),
        ({"pf_pow": 1.0}, [1, 2, 0, 2]),
        ({"pf_method": "max_min"}, [0, 1, 0, 1]),
        ({"pf_method": "max_random"}, [0.4, 1, 0.4, 0.4]),
    ],
)
def test_rows_are_drawn_by_their_rewards(knobs, chances):
    expected = torch.tensor(chances, dtype=torch.float64) / sum(chances)
    found = drawn([1.0, 2.0, 0.0, -2.0], 300, **knobs)
    torch.testing.assert_close(found, expected, atol=0.05, rtol=0)
    assert not found[expected == 0].any()


def test_where_nothing_is_rewarded_all_rows_are_alike():
    found = drawn([0.0] * 4, 300)
    torch.testing.assert_close(found, torch.full_like(found, 0.25), atol=0.05, rtol=0)


@pytest.mark.parametrize("method", ["pow", "max_min", "max_random"])
def test_the_gain_of_a_row_counts_as_often_as_it_is_drawn(random_batch, agrees_by_hand, method):
    algorithm = compose("dapo", "pf_ppo", knobs={"pf_method": method})
    logprobs, batch = random_batch()
    hits = algorithm.prepare(batch)["drawn"].tolist()
    assert len(set(hits)) > 1

    def by_hand(rows, new, sg):
        gains = []
        for row in rows:
            for t in row.tokens:
                ratio = math.exp(new[row.index][t] - row.old[t])
                clipped = min(max(ratio, 0.8), 1.28)
                gain = min(ratio * row.advantage, clipped * row.advantage)
                gains.append(hits[row.index] * gain)
        return -fmean(gains)

    agrees_by_hand(algorithm, by_hand, logprobs, batch)


def test_the_same_step_draws_the_same():
    algorithm, batch = compose("dapo", "pf_ppo"), batch_of([1.0, 0.5, 2.0, -1.0])
    first, again = (algorithm.prepare(batch, {"step": 7})["drawn"] for _ in range(2))
    assert torch.equal(first, again)


def test_a_knob_of_another_method_is_refused():
    with pytest.raises(Exception, match="'pf_pow' is set, but no active stage"):
        compose("dapo", "pf_ppo", knobs={"pf_method": "max_min", "pf_pow": 3.0})
