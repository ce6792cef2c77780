import math

import pytest
import torch

from anypo import AnypoError, compose
from anypo import functional as F
from anypo_plugins.modifiers.dual_clip import DualClip

TOKEN_MEAN = {"kl_coef": 0.0, "clip_high": 0.2}


def by_hand(rows, new, sg):
    gains = []
    for row in rows:
        for t in row.tokens:
            ratio, a = math.exp(new[row.index][t] - row.old[t]), row.advantage
            gain = min(ratio * a, min(max(ratio, 0.8), 1.28) * a)
            gains.append(max(gain, 1.5 * a) if a < 0 else gain)
    return -sum(gains) / len(gains)


def test_reproduces_the_golden_loss(reproduces):
    reproduces(compose("dapo", "dual_clip", knobs=TOKEN_MEAN), "dual_clip.loss")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    algorithm = compose("dapo", DualClip(dual_clip=1.5))
    agrees_by_hand(algorithm, by_hand, *random_batch(seed))


def test_beyond_the_bound_the_gradient_is_zero(random_batch, loss_and_gradient):
    algorithm = compose("dapo", "dual_clip")
    logprobs, batch = random_batch(scale=2.5)
    prepared = algorithm.prepare(batch)
    _, gradient = loss_and_gradient(algorithm, logprobs, prepared)
    ratio = (logprobs - batch.old_logprobs).exp()
    bad, large = prepared.advantages < 0, ratio > 3.0
    assert (bad & large).any()
    assert not gradient[bad & large].any()
    assert (gradient[bad & ~large & (ratio > 0.8)] > 0).all()


def test_a_huge_ratio_costs_no_more_than_the_bound(golden_batch):
    algorithm = compose("dapo", "dual_clip")
    logprobs, batch = golden_batch("F1")
    prepared = algorithm.prepare(batch)
    worst = 3.0 * (F.token_mean(batch.mask) * prepared.advantages.clamp(max=0)).sum()
    loss = algorithm.loss(torch.full_like(logprobs, 500.0), prepared).total
    assert loss.item() <= -worst.item()


@pytest.mark.parametrize(
    ("below", "message"),
    [
        (("gspo",), "bounds a ratio per token, but here the ratio is one per sequence"),
        (("cispo",), "needs a clipped surrogate below it"),
        (("dapo", "tis"), "what rescales a gain belongs above dual_clip"),
    ],
    ids="+".join,
)
def test_a_stage_whose_gain_it_cannot_bound_is_refused_in_one_sentence(below, message):
    with pytest.raises(AnypoError, match=message) as caught:
        compose(*below, "dual_clip")
    assert len(str(caught.value).splitlines()) == 1


def test_completions_of_one_token_are_no_sequence_ratio(golden_batch):
    logprobs, batch = golden_batch("F1")
    first = batch.replace(
        mask=batch.mask[:, :1],
        **{name: x[:, :1] for name, x in batch.tensors.items() if x.dim() == 2},
    )
    algorithm = compose("dapo", "dual_clip")
    assert algorithm.loss(logprobs[:, :1], algorithm.prepare(first)).total.isfinite()


@pytest.mark.parametrize("value", [1.0, 0.5])
def test_a_bound_that_would_stop_on_policy_learning_is_refused(value):
    with pytest.raises(AnypoError, match="dual_clip"):
        compose("dapo", "dual_clip", knobs={"dual_clip": value})


def test_is_no_algorithm_by_itself():
    with pytest.raises(AnypoError, match="put it on top of one"):
        compose("dual_clip")
