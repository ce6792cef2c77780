import math

import pytest
import torch

from anypo import AnypoError, compose


def by_hand(rows, new, sg):
    gains = [
        min(math.exp(sg[row.index][t] - row.old[t]), 1.3) * row.advantage * new[row.index][t]
        for row in rows
        for t in row.tokens
    ]
    return -sum(gains) / len(gains)


@pytest.mark.parametrize(("name", "cap"), [("cispo.loss", 1.2), ("cispo.loss_abs_cap", 2.0)])
def test_reproduces_the_golden_loss(reproduces, name, cap):
    reproduces(compose("cispo", knobs={"cap": cap}), name)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("cispo", knobs={"cap": 1.3}), by_hand, *random_batch(seed))


def test_every_token_with_an_advantage_keeps_its_gradient(random_batch, loss_and_gradient):
    algorithm = compose("cispo")
    logprobs, batch = random_batch(scale=3.0)
    prepared = algorithm.prepare(batch)
    _, gradient = loss_and_gradient(algorithm, logprobs, prepared)
    assert torch.equal(gradient != 0, prepared.advantages != 0)


@pytest.mark.parametrize(
    ("plugins", "hooks"),
    [(("cispo", "dr_grpo"), {}), (("dr_grpo",), {"clip": "cispo"})],
    ids=["below", "one stage"],
)
def test_with_dr_grpo_it_reproduces_the_golden_stack(reproduces, plugins, hooks):
    algorithm = compose(*plugins, hooks=hooks, knobs={"cap": 2.0})
    reproduces(algorithm, "stack.drgrpo_cispo", max_completion_length=8)


@pytest.mark.parametrize("knob", ["clip_low", "clip_high"])
def test_the_clip_range_of_the_surrogate_it_replaces_is_refused(knob):
    with pytest.raises(AnypoError, match=f"'{knob}' is set, but no active stage of cispo reads it"):
        compose("cispo", knobs={knob: 0.1})
