"""Weightings: a scalar objective is sum(weights * values)."""

from jaxtyping import Bool, Float, Int
from torch import Tensor

from anypo.functional.groups import group_sum


def token_mean(mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """mask / number of tokens: every token of the batch counts the same."""
    return mask.double() / mask.sum().clamp(min=1)


def per_completion_mean(
    mask: Bool[Tensor, "N T"], *, count_empty: bool = False
) -> Float[Tensor, "N T"]:
    """mask / length / number of completions: every completion counts the same."""
    return per_completion_sum(mask, count_empty=count_empty) / _lengths(mask)


def per_completion_sum(
    mask: Bool[Tensor, "N T"], *, count_empty: bool = False
) -> Float[Tensor, "N T"]:
    """mask / number of completions: a completion counts by its length.

    Args:
        count_empty: Whether a row without any unmasked token counts as a completion.
    """
    rows = len(mask) if count_empty else int(mask.any(-1).sum())
    return mask.double() / max(rows, 1)


def constant_length_mean(
    mask: Bool[Tensor, "N T"], length: int, *, count_empty: bool = False
) -> Float[Tensor, "N T"]:
    """mask / length / number of completions, `length` being the generation budget.

    Source: Dr. GRPO, arXiv:2503.20783: a constant does not favour long wrong completions.
    """
    return per_completion_sum(mask, count_empty=count_empty) / length


def group_token_mean(mask: Bool[Tensor, "N T"], group: Int[Tensor, " N"]) -> Float[Tensor, "N T"]:
    """mask / tokens of the group / number of groups: every prompt counts the same."""
    tokens = group_sum(mask.sum(-1).double(), group)
    return mask / (tokens.clamp(min=1) * _groups(mask, group)).unsqueeze(-1)


def group_completion_mean(
    mask: Bool[Tensor, "N T"], group: Int[Tensor, " N"]
) -> Float[Tensor, "N T"]:
    """mask / length / completions of the group / number of groups."""
    completions = group_sum(mask.any(-1).double(), group)
    return mask / _lengths(mask) / (completions.clamp(min=1) * _groups(mask, group)).unsqueeze(-1)


def _groups(mask: Bool[Tensor, "N T"], group: Int[Tensor, " N"]) -> int:
    return max(1, len(set(group[mask.any(-1)].tolist())))


def _lengths(mask: Bool[Tensor, "N T"]) -> Float[Tensor, "N 1"]:
    return mask.sum(-1, keepdim=True).clamp(min=1).double()
