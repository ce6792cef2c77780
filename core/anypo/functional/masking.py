"""Sums and means that no masked position reaches."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor


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
