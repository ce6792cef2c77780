import pytest
import torch

from anypo import AnypoError, compose


def entropies(batch, seed=0):
    return torch.rand(batch.mask.shape, generator=torch.Generator().manual_seed(seed)).double()


def test_the_bonus_is_the_weighted_entropy(random_batch):
    logprobs, batch = random_batch()
    algorithm = compose("dapo", "entropy", knobs={"entropy_coef": 0.3})
    entropy = entropies(batch)
    loss = algorithm.loss(logprobs, algorithm.prepare(batch), entropy=entropy)
    plain = compose("dapo")
    below = plain.loss(logprobs, plain.prepare(batch)).total
    counted = [
        entropy[i, t].item() for i in range(len(batch)) for t in range(6) if batch.mask[i, t]
    ]
    assert loss.terms["entropy"].item() == pytest.approx(-0.3 * sum(counted) / len(counted))
    assert (loss.total - below).item() == pytest.approx(loss.terms["entropy"].item())


def test_gradient_flows_into_the_entropy_by_the_weights(random_batch):
    logprobs, batch = random_batch()
    algorithm = compose("grpo", "entropy")
    prepared = algorithm.prepare(batch)
    entropy = entropies(batch).requires_grad_()
    algorithm.loss(logprobs, prepared, entropy=entropy).total.backward()
    torch.testing.assert_close(entropy.grad, -0.01 * prepared.weights["policy"])


def test_padding_may_hold_anything(random_batch):
    logprobs, batch = random_batch()
    algorithm = compose("dapo", "entropy")
    entropy = torch.where(batch.mask, entropies(batch), torch.nan).requires_grad_()
    loss = algorithm.loss(logprobs, algorithm.prepare(batch), entropy=entropy)
    loss.total.backward()
    assert loss.total.isfinite()
    assert not entropy.grad[~batch.mask].any()


def test_requires_the_entropy():
    assert "entropy" in compose("dapo", "entropy").requires
    assert "entropy" not in compose("dapo").requires


@pytest.mark.parametrize("value", [0.0, -0.01])
def test_a_bonus_of_nothing_is_refused(value):
    with pytest.raises(AnypoError, match="entropy_coef"):
        compose("dapo", "entropy", knobs={"entropy_coef": value})
