import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from anypo.models import head
from anypo.models.head import Head
from anypo.models.logits import Making

MAKINGS = [Making(), Making(scale=0.3, cap=5.0, temperature=0.7)]


def plain(states, weight, bias, tokens, making):
    """With all logits at once, by operations that autograd knows."""
    logits = torch.nn.functional.linear(states, weight, bias) * making.scale
    if making.cap:
        logits = making.cap * torch.tanh(logits / making.cap)
    logits = logits / making.temperature
    normalizer = logits.logsumexp(-1)
    logprobs = logits.gather(-1, tokens[:, None]).squeeze(-1) - normalizer
    return logprobs, normalizer - (logits.softmax(-1) * logits).sum(-1)


def in_chunks(monkeypatch, width, kept):
    """Chunks of 17 tokens and some columns, that are kept for the backward pass or not."""
    monkeypatch.setattr(head, "CHUNK", 17 * width)
    monkeypatch.setattr(head, "NARROWEST", 1)
    monkeypatch.setattr(head, "KEPT", kept)


@pytest.fixture
def given():
    torch.manual_seed(0)
    leaves = [torch.randn(*size, dtype=torch.float64) for size in ((17, 8), (50, 8), (50,))]
    return [x.requires_grad_() for x in leaves], torch.randint(50, (17,))


@pytest.mark.parametrize("making", MAKINGS)
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("shares", [(1, 0), (0, 1), (1, 0.1)])
@pytest.mark.parametrize("width", [1, 7, 50])
@pytest.mark.parametrize("kept", [0, 10_000])
def test_it_says_and_passes_back_what_the_plain_way_does(
    given, monkeypatch, making, with_bias, shares, width, kept
):
    in_chunks(monkeypatch, width, kept)
    (states, weight, bias), tokens = given
    bias = bias if with_bias else None
    ours = Head.apply(states, weight, bias, tokens, making, True)
    expected = plain(states, weight, bias, tokens, making)
    torch.testing.assert_close(ours, expected)
    upstream = torch.randn(2, 17, dtype=torch.float64)
    leaves = [x for x in (states, weight, bias) if x is not None]
    gradients = []
    for scores in (ours, expected):
        terms = zip(scores, upstream, shares, strict=True)
        total = sum((share * g * x).sum() for x, g, share in terms if share)
        gradients.append(torch.autograd.grad(total, leaves))
    torch.testing.assert_close(*gradients)


def test_log_probs_of_one_chunk_are_equal_to_the_last_bit(given):
    (states, weight, _), tokens = ([x.float() for x in given[0]], given[1])
    logits = states @ weight.T
    expected = logits.gather(-1, tokens[:, None]).squeeze(-1) - logits.logsumexp(-1)
    for with_entropy in (False, True):
        logprobs, _ = Head.apply(states, weight, None, tokens, Making(), with_entropy)
        assert torch.equal(logprobs, expected)


def test_of_a_frozen_head_no_gradient_is_made(given):
    (states, weight, bias), tokens = given
    frozen = weight.detach(), bias.detach()
    Head.apply(states, *frozen, tokens, Making(), False)[0].sum().backward()
    assert states.grad is not None
    assert weight.grad is bias.grad is None


def test_nothing_as_large_as_the_logits_of_many_is_kept(given, monkeypatch):
    in_chunks(monkeypatch, 5, 0)
    kept = []
    (states, weight, _), tokens = given
    with saved_tensors_hooks(lambda x: kept.append(x.numel()) or x, lambda x: x):
        Head.apply(states, weight, None, tokens, Making(), True)
    assert max(kept) < 17 * 50


def test_the_gradient_can_be_asked_for_twice(given):
    (states, weight, _), tokens = given
    total = Head.apply(states, weight, None, tokens, Making(cap=5.0), True)[0].sum()
    first, second = (torch.autograd.grad(total, states, retain_graph=True) for _ in range(2))
    torch.testing.assert_close(first, second)


def test_of_no_token_there_is_nothing(given):
    (states, weight, _), tokens = given
    logprobs, _ = Head.apply(states[:0], weight, None, tokens[:0], Making(), True)
    assert logprobs.shape == (0,)
    logprobs.sum().backward()
    assert (weight.grad == 0).all()
