import math

import pytest
import torch

from anypo import compose


def entropies(batch, seed=0):
    return torch.rand(batch.mask.shape, generator=torch.Generator().manual_seed(seed)).double()


def kept(algorithm, batch, entropy):
    return algorithm.prepare(batch, entropy=entropy).weights["policy"] > 0


def test_of_each_row_it_reproduces_the_loss_of_the_paper(reproduces_paper):
    algorithm = compose("high_entropy", knobs={"over": "row", "top_entropy": 0.4})
    reproduces_paper(algorithm, "80/20 per row", now={"entropy": "entropy"})


def test_of_the_batch_the_fifth_of_the_highest_entropy_learns(random_batch, loss_and_gradient):
    logprobs, batch = random_batch()
    algorithm, entropy = compose("high_entropy"), entropies(batch)
    ranked = sorted(entropy[batch.mask].tolist())
    bound = ranked[-math.ceil(0.2 * len(ranked))]
    some = batch.mask & (entropy >= bound)
    assert torch.equal(kept(algorithm, batch, entropy), some)
    below = compose("dapo")
    _, whole = loss_and_gradient(below, logprobs, below.prepare(batch))
    prepared = algorithm.prepare(batch, entropy=entropy)
    _, gradient = loss_and_gradient(algorithm, logprobs, prepared)
    torch.testing.assert_close(gradient, torch.where(some, whole, 0))


@pytest.mark.parametrize("over", ["batch", "row"])
def test_all_tokens_are_the_share_of_one_and_padding_has_none(random_batch, over):
    _, batch = random_batch()
    algorithm = compose("high_entropy", knobs={"over": over, "top_entropy": 1.0})
    entropy = torch.where(batch.mask, entropies(batch), torch.nan)
    assert torch.equal(kept(algorithm, batch, entropy), batch.mask)
