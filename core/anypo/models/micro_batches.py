"""Cut a batch into parts that fit into the memory."""

from collections.abc import Iterator, Sequence
from operator import itemgetter

import torch
from jaxtyping import Int
from torch import Tensor


def micro_batches(
    lengths: Int[Tensor, " N"],
    token_budget: int,
    units: Sequence[Sequence[int]] | None = None,
) -> Iterator[Int[Tensor, " n"]]:
    """Row indices of micro-batches of at most `token_budget` tokens, padding included.

    Rows are sorted by length, the longest first: a budget that is too large for the memory fails
    in the first micro-batch of the first step. A unit larger than the budget is its own.

    Args:
        lengths: Of the whole sequences.
        token_budget: Rows times the longest of them.
        units: Rows that must stay together; each row by itself if not given.
    """
    units = [[row] for row in range(len(lengths))] if units is None else units
    sizes = lengths.tolist()
    sized = [(max(sizes[row] for row in unit), unit) for unit in units]
    chosen, longest = list[int](), 0
    for size, unit in sorted(sized, key=itemgetter(0), reverse=True):
        if chosen and (len(chosen) + len(unit)) * longest > token_budget:
            yield torch.tensor(chosen)
            chosen = []
        longest = longest if chosen else size
        chosen.extend(unit)
    if chosen:
        yield torch.tensor(chosen)
