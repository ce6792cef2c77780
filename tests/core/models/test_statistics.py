"""What plugins make of whole distributions, for some tokens at a time."""

import copy

import pytest
import torch

from anypo.models import forward
from anypo.models.forward import TokenScorer
from anypo.models.logits import Making
from tests.core.models.test_forward import made_batch


def divergence(own, theirs):
    """Something of all of both."""
    return {"kl": (own.exp() * (own - theirs)).sum(-1), "square": (2 * own).exp().sum(-1)}


def plain(model, batch, row, temperature):
    """The log-distribution before every token of a completion."""
    ids = batch.input_ids[row, : batch.sequence_lengths[row]]
    start = batch.prompt_lengths[row]
    return (model(ids[None]).logits[0] / temperature).log_softmax(-1)[start - 1 : -1]


@pytest.fixture
def teacher(model):
    """Another one."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in other.parameters():
            weight.add_(
                0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(5))
            )
    return other


@pytest.mark.parametrize("at_once", [1, 2**24])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_they_are_those_of_all_logits_and_so_are_gradients(
    model, teacher, monkeypatch, at_once, temperature
):
    monkeypatch.setattr(forward, "KEPT", at_once)
    batch = made_batch()
    scorer = TokenScorer(model, temperature=temperature, statistics=divergence)
    said = TokenScorer(teacher, temperature=temperature)(batch, saying=True)
    found = scorer(batch, measured=True, teacher=said).statistics
    (found["kl"].sum() + found["square"].sum()).backward()
    gradient = model.model.embed_tokens.weight.grad.clone()
    model.zero_grad()
    for row, length in enumerate(batch.lengths.tolist()):
        both = (plain(m, batch, row, temperature) for m in (model, teacher))
        expected = divergence(*both)
        for name, x in expected.items():
            torch.testing.assert_close(found[name][row, :length], x, rtol=1e-4, atol=1e-5)
            assert not found[name][row, length:].any()
            x.sum().backward(retain_graph=True)
    assert gradient.norm() > 1e-3
    torch.testing.assert_close(gradient, model.model.embed_tokens.weight.grad, rtol=1e-3, atol=1e-5)


def test_what_is_capped_and_scaled_has_a_gradient_too():
    making = Making(scale=0.5, cap=3.0, temperature=0.7)
    products = torch.linspace(-9, 9, 12, dtype=torch.float64).view(2, 6)
    expected = making.logits(products.clone())
    leaf = products.clone().requires_grad_()
    torch.testing.assert_close(making.logits(leaf), expected)
    assert torch.autograd.gradcheck(making.logits, leaf)
    torch.testing.assert_close(leaf.detach(), products)


def test_a_model_that_makes_its_logits_in_another_way_has_them_too(model):
    batch = made_batch()
    scorer = TokenScorer(model, temperature=0.7, statistics=lambda own, _: {"top": own.amax(-1)})
    known = scorer(batch, measured=True).statistics["top"]
    scorer.making = None
    found = scorer(batch, measured=True).statistics["top"]
    torch.testing.assert_close(found, known, rtol=1e-5, atol=1e-5)


def test_they_are_left_out_where_nobody_asks(model):
    scorer = TokenScorer(model, statistics=lambda *_: pytest.fail("nobody asked"))
    assert scorer(made_batch()).statistics == {}


def test_the_entropy_is_measured_everywhere_where_it_is_read(model, monkeypatch):
    monkeypatch.setattr(forward, "LARGE", 10)
    batch = made_batch()
    some, every = (
        TokenScorer(model, whole_entropy=whole)(batch).entropy for whole in (False, True)
    )
    assert some[batch.mask].isnan().any()
    assert every[batch.mask].isfinite().all()
