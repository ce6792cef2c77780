"""Algorithms that leave tokens out of the gain leave none out of the KL penalty."""

import pytest
import torch

from anypo import compose

STACKS = {
    "m2po": {"m2_limit": 1e-6},
    "bapo": {"high_start": 1.01, "high_end": 1.01, "low_start": 0.99, "low_end": 0.99},
    "clip_cov": {"cov_low": -1e9, "cov_high": 1e9, "cov_ratio": 0.5},
    "high_entropy": {},
}


@pytest.mark.parametrize("name", STACKS)
def test_a_kl_penalty_is_of_all_tokens(random_batch, name):
    logprobs, batch = random_batch(0)
    algorithm = compose(name, knobs={**STACKS[name], "kl_coef": 0.5})
    entropy = torch.rand(logprobs.shape, generator=torch.Generator().manual_seed(0)).double()
    prepared = algorithm.prepare(batch, logprobs=logprobs.detach(), entropy=entropy)
    assert (prepared.weights["policy"] == 0)[batch.mask].any()
    apart = batch.ref_logprobs - logprobs.detach()
    expected = 0.5 * (apart.exp() - apart - 1)[batch.mask].mean()
    found = algorithm.loss(logprobs, prepared).terms["kl"]
    assert found.item() == pytest.approx(expected.item())
