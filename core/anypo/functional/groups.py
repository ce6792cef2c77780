"""Statistics over the rows of a group."""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

EQUAL_REWARDS = 1e-8  # a group whose rewards differ by less has nothing to say


def group_index(group: Int[Tensor, " N"]) -> Int[Tensor, " N"]:
    """Groups renumbered 0, 1, 2, …; they need be neither contiguous nor of equal size."""
    index: Tensor = torch.unique(group, return_inverse=True)[1]
    return index


def rows_by_group(group: Int[Tensor, " N"]) -> list[list[int]]:
    """The rows of each group, groups in the order of their first rows."""
    found: dict[int, list[int]] = {}
    for row, name in enumerate(group.tolist()):
        found.setdefault(name, []).append(row)
    return list(found.values())


def group_sum(x: Float[Tensor, " N"], group: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """For each row, the sum of `x` over the rows of its group."""
    index = group_index(group)
    return torch.zeros_like(x).index_add(0, index, x)[index]


def group_mean(x: Float[Tensor, " N"], group: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """For each row, the mean of `x` over the rows of its group."""
    return group_sum(x, group) / group_sum(torch.ones_like(x), group)


def group_max(x: Float[Tensor, " N"], group: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """For each row, the largest `x` among the rows of its group."""
    index = group_index(group)
    return torch.zeros_like(x).scatter_reduce(0, index, x, "amax", include_self=False)[index]


def group_spread(x: Float[Tensor, " N"], group: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """For each row, max - min of `x` over the rows of its group."""
    return group_max(x, group) + group_max(-x, group)


def group_softmax(x: Float[Tensor, " N"], group: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """exp(x_i) / sum_j exp(x_j), over the rows of a group."""
    share = (x - group_max(x.detach(), group)).exp()
    return share / group_sum(share, group)


def group_top_k(x: Float[Tensor, " N"], group: Int[Tensor, " N"], k: int) -> Bool[Tensor, " N"]:
    """Rows of which fewer than `k` others of the group have more; of equals all or none."""
    has_more = (group.unsqueeze(-1) == group) & (x > x.unsqueeze(-1))
    return has_more.sum(-1) < k


def group_standardize(
    rewards: Float[Tensor, " N"],
    group: Int[Tensor, " N"],
    *,
    eps: float = 1e-6,
    correction: int = 1,
    center: Literal["mean", "leave_one_out"] = "mean",
    scale: Literal["group", "batch", "none"] = "group",
    singleton: Literal["zero", "raw"] = "zero",
) -> Float[Tensor, " N"]:
    """A_i = (r_i - mean(r)) / (std(r) + eps), over the rewards of a group.

    Statistics are float64, and a group of equal rewards gives exactly 0: in float32 eight rewards
    of 0.7 have a standard deviation of 6e-8, which a small eps turns into large advantages.

    Args:
        eps: Added to the standard deviation, outside the root.
        correction: 1 divides the variance by n - 1, 0 by n.
        center: `leave_one_out` uses the mean of the other rows of the group (RLOO).
        scale: What to divide by: the standard deviation of the group, of all rows, or nothing.
        singleton: What a group of one row gets: 0, or its reward as it stands.

    Source: DeepSeekMath, arXiv:2402.03300, section 4.1.2.
    """
    values = rewards.double()
    size = group_sum(torch.ones_like(values), group)
    centred = values - group_mean(values, group)
    centred = torch.where(group_spread(values, group) <= EQUAL_REWARDS, 0, centred)
    if center == "leave_one_out":
        centred = centred * size / (size - 1).clamp(min=1)
    if scale == "group":
        freedom = (size - correction).clamp(min=1)
        centred = centred / ((group_sum(centred.square(), group) / freedom).sqrt() + eps)
    elif scale == "batch" and len(values) > correction:
        centred = centred / (values.std(correction=correction) + eps)
    if singleton == "raw":
        centred = torch.where(size == 1, values, centred)
    return centred.to(rewards.dtype)
