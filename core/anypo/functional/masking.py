"""Sums, means and ranks that no masked position reaches."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

ROUNDING = 1e-5  # of entropies and the like, of order 1, where they are float32


def masked(x: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """`x` with exact zeros, in value and gradient, wherever the mask is False."""
    return torch.where(mask, x, 0)


def masked_mean(x: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, ""]:
    """Mean over the unmasked positions; 0 if there is none."""
    return masked(x, mask).sum() / mask.sum().clamp(min=1)


def row_mean(x: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N 1"]:
    """Mean over the unmasked positions of each row; 0 for a row without any."""
    return masked(x, mask).sum(-1, keepdim=True) / mask.sum(-1, keepdim=True).clamp(min=1)


def to_tokens(x: Float[Tensor, " N"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """What each row has, at all of its unmasked positions."""
    return masked(x.unsqueeze(-1).expand(mask.shape), mask)


def largest(
    x: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"], count: Int[Tensor, "N 1"] | int
) -> Bool[Tensor, "N T"]:
    """The unmasked positions of a row of which fewer than `count` others have more; at least one.

    Of equals all or none, so there may be more. Equal are numbers that rounding may have set apart:
    the first tokens of the completions to a prompt have one entropy. Those of a whole batch: make
    one row of it.
    """
    ranked = torch.where(mask, x, -torch.inf).sort(-1, descending=True).values
    last = torch.as_tensor(count, device=x.device).expand(len(x), 1).clamp(1, x.shape[-1]) - 1
    return mask & (x >= ranked.gather(-1, last) - ROUNDING)


def first_token(x: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N 1"]:
    """`x` at each row's first unmasked position; in a row without any, at the first of all."""
    return x.gather(-1, mask.int().argmax(-1, keepdim=True))


def whiten(
    x: Float[Tensor, "N T"], mask: Bool[Tensor, "N T"], *, correction: int = 1, eps: float = 1e-8
) -> Float[Tensor, "N T"]:
    """(x - mean) / sqrt(var + eps) over the unmasked positions; with fewer than two, x itself."""
    count = mask.sum()
    if count < 2:
        return masked(x, mask)
    centred = x.double() - masked_mean(x.double(), mask)
    variance = masked(centred.square(), mask).sum() / (count - correction)
    return masked(centred * torch.rsqrt(variance + eps), mask).to(x.dtype)
