import pytest
import torch

from anypo import compose
from anypo.hooks.specs import beginning

QUIET = {"kl_coef": 0.0, "entropy_delta": 0.25, "entropy_start": 0.25, "entropy_target": 0.5}


def test_reproduces_the_golden_loss(reproduces_paper, paper_batch, precision):
    entropy = paper_batch(precision[0])[1].old_entropy
    knobs = {"kl_coef": 0.0, "entropy_start": 0.01, "entropy_target": 1.0}
    algorithm = compose("grpo", "adaptive_entropy", knobs=knobs)
    reproduces_paper(algorithm, "skywork", more={"entropy": entropy})


def coefficients(paper_batch, entropies):
    """Those of rollouts with such entropies, one after the other."""
    algorithm, state = compose("grpo", "adaptive_entropy", knobs=QUIET), beginning()
    for entropy in entropies:
        logprobs, batch = paper_batch()
        batch = batch.replace(old_entropy=torch.full_like(logprobs, entropy))
        prepared = algorithm.prepare(batch, state)
        loss = algorithm.loss(logprobs, prepared, entropy=torch.ones_like(logprobs))
        total, count = loss.metrics["entropy/coef"]
        assert loss.terms["adaptive_entropy"].item() == pytest.approx(-float(total / count))
        yield float(total / count)


def test_the_bonus_rises_while_the_policy_is_too_certain_and_is_none_where_it_is_not(paper_batch):
    entropies = [0.1, 0.1, 0.9, 0.9, 0.9, 0.9, 0.5, 0.1]
    expected = [0.25, 0.5, 0, 0, 0, 0, 0, 0.25]  # from 0.75 down to 0, and no further
    assert list(coefficients(paper_batch, entropies)) == expected


def test_gradient_flows_into_the_entropy(paper_batch):
    algorithm = compose("grpo", "adaptive_entropy", knobs=QUIET)
    logprobs, batch = paper_batch()
    prepared = algorithm.prepare(batch.replace(old_entropy=torch.zeros_like(logprobs)))
    entropy = torch.ones_like(logprobs).requires_grad_()
    algorithm.loss(logprobs, prepared, entropy=entropy).total.backward()
    torch.testing.assert_close(entropy.grad, -0.25 * prepared.weights["policy"])


def test_requires_both_entropies():
    assert {"old_entropy", "entropy"} <= compose("grpo", "adaptive_entropy").requires


def test_a_bonus_of_a_fixed_weight_below_it_is_paid_too(paper_batch):
    logprobs, batch = paper_batch()
    algorithm = compose("grpo", "entropy", "adaptive_entropy", knobs={"entropy_coef": 0.5} | QUIET)
    prepared = algorithm.prepare(batch.replace(old_entropy=torch.zeros_like(logprobs)))
    terms = algorithm.loss(logprobs, prepared, entropy=torch.ones_like(logprobs)).terms
    assert terms["entropy"].item() == pytest.approx(-0.5)
    assert terms["adaptive_entropy"].item() == pytest.approx(-0.25)
