"""The language-model head, without all logits at once.

A chunk is the logits of all tokens for a part of the vocabulary, small enough for the processor's
cache. Of a token only its normaliser is kept, unless all logits together are few. The backward pass
computes a chunk again, turns it into its gradient in place, and multiplies; so the gradient of a
part of the head is finished when its chunk is.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anypo.models.logits import Making

KEPT = 2**24  # logits, at most, that wait for the backward pass: 64 MiB in float32
CHUNK = 2**21  # logits at a time, on a CPU; a GPU is given as many as are kept
NARROWEST = 128  # columns of a chunk, however many tokens there are
NOTHING = -1e4  # nats below which what was added up before is 0
Scores = tuple[Float[Tensor, " M"], Float[Tensor, " M"]]
Chunk = tuple[slice, Float[Tensor, "M v"]]  # of the vocabulary, and its logits


class Head(torch.autograd.Function):
    """Log-probs of tokens and, if asked for, the entropies of their distributions; in nats."""

    @staticmethod
    def forward(
        ctx: Any,
        states: Float[Tensor, "M H"],
        weight: Float[Tensor, "V H"],
        bias: Float[Tensor, " V"] | None,
        tokens: Int[Tensor, " M"],
        making: Making,
        with_entropy: bool,
    ) -> Scores:
        """See the class; without entropy, what stands in its place means nothing."""
        dtype = torch.promote_types(weight.dtype, torch.float32)
        chosen, total, moment = states.new_zeros((3, len(states)), dtype=dtype)
        top = torch.full_like(total, torch.finfo(dtype).min)
        few = len(states) * len(weight) <= KEPT
        ctx.kept = []
        for part, logits in _chunks(states, weight, bias, making, in_one_place=not few):
            ctx.kept += [(part, logits)] if few else []
            inside, columns = _within(part, tokens)
            chosen = torch.where(inside, logits.gather(-1, columns).squeeze(-1), chosen)
            higher = torch.maximum(top, logits.amax(-1))
            gap, top = (top - higher).clamp_(min=NOTHING), higher
            shifted = (logits.clone() if few else logits).sub_(top[:, None])
            exponentials = shifted.exp() if with_entropy else shifted.exp_()
            sums = exponentials.sum(-1)
            if with_entropy:  # the mean distance from the top, not yet divided by the total
                shifted_sums = exponentials.mul_(shifted).sum(-1)
                moment = (moment + total * gap) * gap.exp() + shifted_sums
            total = total * gap.exp() + sums
        normalizers, entropy = total.log() + top, total.log() - moment / total
        ctx.save_for_backward(states, weight, bias, tokens, normalizers, entropy)
        ctx.making = making
        ctx.set_materialize_grads(False)
        return chosen - normalizers, entropy

    @staticmethod
    def backward(ctx: Any, of_logprobs: Tensor, of_entropy: Tensor | None) -> Any:
        """By logits: onehot - p of the log-prob, and -p (log p + H) of the entropy H."""
        states, weight, bias, tokens, normalizers, entropy = ctx.saved_tensors
        of_logprobs = torch.zeros_like(normalizers) if of_logprobs is None else of_logprobs
        of_states = torch.zeros_like(states, dtype=normalizers.dtype)
        of_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        of_bias = torch.empty_like(bias) if ctx.needs_input_grad[2] else None
        kept, ctx.kept = ctx.kept, []  # they are overwritten
        for part, logits in kept or _chunks(states, weight, bias, ctx.making, in_one_place=True):
            slope = ctx.making.slope(logits)
            logits -= normalizers[:, None]
            factor = of_logprobs[:, None]
            if of_entropy is not None:
                factor = (logits + entropy[:, None]) * of_entropy[:, None] + factor
            gradient = logits.exp_().mul_(factor).neg_()
            inside, columns = _within(part, tokens)
            gradient.scatter_add_(1, columns, (inside * of_logprobs)[:, None])
            gradient = gradient.mul_(slope).to(weight.dtype)
            of_states += gradient @ weight[part]
            if of_weight is not None:
                torch.mm(gradient.T, states, out=of_weight[part])
            if of_bias is not None:
                of_bias[part] = gradient.sum(0)
        return of_states.to(states.dtype), of_weight, of_bias, None, None, None


def _chunks(
    states: Tensor, weight: Tensor, bias: Tensor | None, making: Making, *, in_one_place: bool
) -> Iterator[Chunk]:
    """The logits of all tokens; in one place, each takes that of the one before."""
    width = max(NARROWEST, (CHUNK if states.is_cpu else KEPT) // max(1, len(states)))
    place = None
    for start in range(0, len(weight), width):
        part = slice(start, min(start + width, len(weight)))
        size = len(states), part.stop - part.start
        if place is None or not in_one_place:
            place = states.new_empty(size)
        out = place.view(-1)[: size[0] * size[1]].view(size)
        products = torch.mm(states, weight[part].T, out=out)
        if bias is not None:
            products += bias[part]
        yield part, making.logits(products.to(torch.promote_types(weight.dtype, torch.float32)))


def _within(part: slice, tokens: Int[Tensor, " M"]) -> tuple[Tensor, Tensor]:
    """Whether each token is in a part of the vocabulary, and its column there, or some other."""
    places = tokens - part.start
    columns = places.clamp(0, part.stop - part.start - 1)
    return columns == places, columns[:, None]
