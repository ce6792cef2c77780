"""Log-probs, entropies and gradients on a GPU are those of the CPU."""

from copy import deepcopy

import pytest
import torch

from anypo import Sample, collate, score_tokens

pytestmark = pytest.mark.cuda

LARGE = 100_000  # tokens of a vocabulary whose logits nobody wants to keep


@pytest.fixture
def batch():
    random = torch.Generator().manual_seed(1)

    def ids(n):
        return torch.randint(0, 256, (n,), generator=random).tolist()

    prompts = [ids(9), ids(3)]
    return collate([Sample(prompts[i % 2], ids(4 + i), group=i % 2) for i in range(8)])


def scored(model, batch):
    """Log-probs, entropies, and the gradient of a sum of both."""
    scores = score_tokens(model, batch, temperature=0.7, with_entropy_gradient=True)
    (scores.logprobs + 0.1 * scores.entropy).sum().backward()
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    return [x.detach().cpu() for x in (scores.logprobs, scores.entropy, gradient)]


def test_they_are_those_of_the_cpu(model, batch):
    expected = scored(deepcopy(model), batch)
    found = scored(model.cuda(), batch.to(torch.device("cuda")))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


def test_bfloat16_is_near_them(model, batch):
    expected, *_ = scored(deepcopy(model), batch)
    with torch.autocast("cuda", dtype=torch.bfloat16):
        found, *_ = scored(model.cuda(), batch.to(torch.device("cuda")))
    assert (found - expected).abs().max() < 0.4
    assert (found - expected).abs().mean() < 0.05


def test_the_logits_of_a_batch_never_exist(model):
    model.resize_token_embeddings(LARGE)
    ids = torch.arange(200).tolist()
    rows = collate([Sample(ids[:4], ids, group=0) for _ in range(16)])
    model = model.cuda()
    before = torch.cuda.memory_allocated()
    scored(model, rows.to(torch.device("cuda")))
    logits = rows.mask.sum() * LARGE * 4
    assert torch.cuda.max_memory_allocated() - before < logits / 2
