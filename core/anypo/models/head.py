"""The language-model head, without the logits of more than a few tokens at a time.

Of a token only its normaliser is kept, unless all logits fit into a chunk. The backward pass
computes them again, turns them into their gradient in place, and multiplies.
"""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anypo.models.logits import Making

CHUNK = 2**24  # logits at a time: 64 MiB in float32
Scores = tuple[Float[Tensor, " M"], Float[Tensor, " M"]]


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
        logprobs, normalizers, entropy = states.new_empty((3, len(states)), dtype=dtype)
        ctx.logits = None
        for part, logits in _chunks(states, weight, bias, making):
            logprobs[part] = logits.gather(-1, tokens[part, None]).squeeze(-1)
            top = logits.amax(-1)
            logits -= top[:, None]
            exponentials = logits.exp() if with_entropy else logits.exp_()
            sums = exponentials.sum(-1)
            normalizers[part] = sums.log() + top
            if with_entropy:
                entropy[part] = sums.log() - exponentials.mul_(logits).sum(-1) / sums
                ctx.logits = logits.add_(top[:, None]) if len(logits) == len(states) else None
        ctx.save_for_backward(states, weight, bias, tokens, normalizers, entropy)
        ctx.making = making
        ctx.set_materialize_grads(False)
        return logprobs - normalizers, entropy

    @staticmethod
    def backward(ctx: Any, of_logprobs: Tensor, of_entropy: Tensor | None) -> Any:
        """By logits: onehot - p of the log-prob, and -p (log p + H) of the entropy H."""
        states, weight, bias, tokens, normalizers, entropy = ctx.saved_tensors
        of_logprobs = torch.zeros_like(normalizers) if of_logprobs is None else of_logprobs
        of_states = torch.empty_like(states)
        of_weight = torch.zeros_like(weight) if ctx.needs_input_grad[1] else None
        of_bias = torch.zeros_like(bias) if ctx.needs_input_grad[2] else None
        kept, ctx.logits = ctx.logits, None  # they are overwritten
        chunks = _chunks(states, weight, bias, ctx.making)
        for part, logits in chunks if kept is None else [(slice(None), kept)]:
            slope = ctx.making.slope(logits)
            logits -= normalizers[part, None]
            factor = of_logprobs[part, None]
            if of_entropy is not None:
                factor = (logits + entropy[part, None]) * of_entropy[part, None] + factor
            gradient = logits.exp_().mul_(factor).neg_()
            gradient.scatter_add_(1, tokens[part, None], of_logprobs[part, None])
            gradient = gradient.mul_(slope).to(weight.dtype)
            of_states[part] = gradient @ weight
            if of_weight is not None:
                of_weight.addmm_(gradient.T, states[part])
            if of_bias is not None:
                of_bias += gradient.sum(0)
        return of_states, of_weight, of_bias, None, None, None


def _chunks(
    states: Tensor, weight: Tensor, bias: Tensor | None, making: Making
) -> Iterator[tuple[slice, Float[Tensor, "m V"]]]:
    """The logits of some tokens after the other, each in the place of those before."""
    size = max(1, CHUNK // len(weight))
    buffer = states.new_empty(min(size, len(states)), len(weight))
    for start in range(0, len(states), size):
        part = slice(start, start + size)
        products = torch.mm(states[part], weight.T, out=buffer[: len(states[part])])
        if bias is not None:
            products += bias
        yield part, making.logits(products.to(torch.promote_types(weight.dtype, torch.float32)))
