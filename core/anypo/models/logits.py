"""How a model makes logits of its decoder's hidden states."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers import PreTrainedModel

SMALL, LARGE = 1e-3, 1e6  # times ordinary states: caps do not show, and nothing else does


@dataclass(frozen=True)
class Making:
    """Logits of the products of states and head: scaled, capped, and for sampling at a heat."""

    scale: float = 1.0
    cap: float | None = None
    temperature: float = 1.0

    def logits(self, products: Float[Tensor, "m V"]) -> Float[Tensor, "m V"]:
        """What becomes of the products, in their place unless gradient is to flow through them."""
        if products.requires_grad:
            return self._with_gradient(products)
        if self.scale != 1:
            products *= self.scale
        if self.cap is not None:
            products.div_(self.cap).tanh_().mul_(self.cap)
        return products.div_(self.temperature) if self.temperature != 1 else products

    def _with_gradient(self, products: Float[Tensor, "m V"]) -> Float[Tensor, "m V"]:
        logits = products * self.scale
        if self.cap is not None:
            logits = self.cap * torch.tanh(logits / self.cap)
        return logits / self.temperature

    def slope(self, logits: Float[Tensor, "m V"]) -> Float[Tensor, "m V"] | float:
        """The derivative of logits by products, as a new tensor if it is not the same for all."""
        slope = self.scale / self.temperature
        if self.cap is None:
            return slope
        return (logits * (self.temperature / self.cap)).square_().neg_().add_(1).mul_(slope)


@torch.no_grad()
def making_of(model: PreTrainedModel, temperature: float = 1.0) -> Making | None:
    """How the model makes its logits, seen from outside; None if otherwise than by scale and cap.

    Configurations are not asked: some divide by what others multiply with.
    """
    head = model.get_output_embeddings()
    width = head.weight.shape[1]
    random = torch.Generator().manual_seed(0)
    states = torch.randn(4, width, generator=random).to(head.weight)

    def both(states: Tensor) -> tuple[Tensor, Tensor]:
        return _products(head, states).double(), own_logits(model, states).double()

    products, logits = both(SMALL * states)
    scale = float((products * logits).sum() / products.square().sum())
    if abs(scale - 1) < 1e-5:
        scale = 1.0
    products, logits = both(LARGE * states)
    largest = float(logits.abs().max())
    capped = largest < SMALL * abs(scale) * float(products.abs().max())
    making = Making(scale, largest if capped else None)
    products, logits = both(states)
    rounding = 1e-3 if head.weight.dtype == torch.float32 else 2e-2
    fits = torch.allclose(making.logits(products), logits, rtol=rounding, atol=rounding / 10)
    return replace(making, temperature=temperature) if fits else None


class _Given:
    """What a decoder returns that says nothing but hidden states."""

    def __init__(self, last_hidden_state: Tensor) -> None:
        self.last_hidden_state = last_hidden_state

    def __getitem__(self, index: int) -> Tensor:
        return (self.last_hidden_state,)[index]

    def __getattr__(self, name: str) -> None:
        return None


def logits_of(
    model: PreTrainedModel, states: Float[Tensor, "M H"], making: Making | None
) -> Float[Tensor, "M V"]:
    """The logits of hidden states; products in the precision of the head, and then float32."""
    head = model.get_output_embeddings()
    with torch.autocast(states.device.type, enabled=False):
        states = states.to(head.weight.dtype)
        if making is None:
            return own_logits(model, states)
        products = _products(head, states)
        return making.logits(products.to(torch.promote_types(products.dtype, torch.float32)))


def _products(head: Any, states: Float[Tensor, "M H"]) -> Float[Tensor, "M V"]:
    return nn.functional.linear(states, head.weight, getattr(head, "bias", None))


def own_logits(model: nn.Module, hidden: Float[Tensor, "M H"]) -> Float[Tensor, "M V"]:
    """What the model's own forward pass makes of hidden states that its decoder would give it."""
    decoder, given = decoder_of(model), _Given(hidden.unsqueeze(1))
    ids = torch.ones(len(hidden), 1, dtype=torch.long, device=hidden.device)
    own = vars(decoder).get("forward")
    decoder.forward = lambda *_, **__: given
    try:  # the class's forward: an instance's may bring autocast back
        logits: Tensor = type(model).forward(model, input_ids=ids).logits
    finally:
        del decoder.forward
        if own is not None:
            decoder.forward = own
    return logits.squeeze(1)


def decoder_of(model: nn.Module) -> nn.Module:
    """What makes hidden states of tokens: a causal language model without its head."""
    decoder: nn.Module = model.get_decoder()  # type: ignore[operator]
    if decoder not in (model, model.get_output_embeddings()):  # type: ignore[operator]
        return decoder
    # transformers goes by names, and finds the whole of Llama 4, or the head of ModernBERT.
    bodies = [child for child in model.children() if isinstance(child, PreTrainedModel)]
    body: nn.Module = bodies[0] if bodies else model.base_model  # type: ignore[assignment]
    return body
