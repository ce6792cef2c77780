import pytest
import torch

from anypo import Batch, compose

FIRST = torch.tensor([1.0, 1.0, -1.0])  # good and too likely; bad; bad and unlikely


def made(lengths, **tensors):
    """A batch of one group, and what the models say of it."""
    random = torch.Generator().manual_seed(len(lengths))
    shape = (len(lengths), max(lengths))
    mask = torch.arange(shape[1]) < torch.tensor(lengths).unsqueeze(-1)
    inputs = {
        name: (-2 * torch.rand(shape, generator=random)).requires_grad_()
        for name in ("logprobs", "entropy")
    }
    count = torch.tensor(range(len(lengths)))
    batch = Batch(mask=mask, group=0 * count, truncated=count < 0, **tensors)
    return batch, inputs


def means(algorithm, batch, inputs):
    metrics = algorithm.loss(batch=algorithm.prepare(batch), **inputs).metrics
    return {name: float(total / count) for name, (total, count) in metrics.items()}


def test_metrics_are_token_means_of_what_was_trained_on():
    batch, inputs = made([2, 4], rewards=torch.tensor([1.0, 0.0]))
    old = inputs["logprobs"].detach()
    batch = batch.replace(old_logprobs=old - 0.5, ref_logprobs=old - 1)
    found = means(compose("grpo"), batch, inputs)
    assert found["ratio/mean"] == pytest.approx(torch.tensor(0.5).exp().item())
    assert found["kl/ref"] == pytest.approx(torch.tensor(-1.0).exp().item())
    assert found["entropy"] == pytest.approx(float(inputs["entropy"].detach()[batch.mask].mean()))


def test_clip_fraction_counts_the_tokens_whose_gradient_is_cut():
    batch, inputs = made([1, 1, 1], rewards=torch.tensor([1.0, 0.0, 0.0]))
    batch = batch.replace(old_logprobs=inputs["logprobs"].detach() - FIRST.unsqueeze(-1))
    algorithm = compose("grpo", knobs={"kl_coef": 0})
    loss = algorithm.loss(batch=algorithm.prepare(batch), **inputs)
    total, count = loss.metrics["clip/fraction"]
    assert (int(total), int(count)) == (2, 3)


def test_nothing_is_clipped_before_the_first_update():
    batch, inputs = made([2, 4], rewards=torch.tensor([1.0, 0.0]))
    old = inputs["logprobs"].detach()
    found = means(compose("grpo"), batch.replace(old_logprobs=old, ref_logprobs=old), inputs)
    assert (found["clip/fraction"], found["ratio/mean"], found["kl/ref"]) == (0, 1, 0)


def test_without_a_gradient_nothing_is_said_of_clipping():
    batch, inputs = made([2, 4], rewards=torch.tensor([1.0, 0.0]))
    old = inputs["logprobs"].detach()
    batch = batch.replace(old_logprobs=old, ref_logprobs=old)
    algorithm = compose("grpo")
    with torch.no_grad():
        found = means(algorithm, batch, inputs)
    assert found.keys() == {"ratio/mean", "kl/ref", "entropy"}


def test_of_completions_that_were_not_sampled_no_ratio_or_divergence_is_estimated():
    batch, inputs = made([2, 4], preference=torch.tensor([1.0, -1.0]))
    old = inputs["logprobs"].detach()
    batch = batch.replace(old_logprobs=old, ref_logprobs=old)
    found = means(compose("dpo"), batch, inputs)
    assert not {"ratio/mean", "kl/ref"} & found.keys()
    assert {"clip/fraction", "entropy", "rewards/margins"} <= found.keys()
