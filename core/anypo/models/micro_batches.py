"""Cut a batch into parts that fit into the memory."""

from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from anypo.hooks.batch import Batch
from anypo.models.sharing import Sharing


class MicroBatch(NamedTuple):
    """Rows that go through the model together."""

    rows: Int[Tensor, " n"]
    line: Int[Tensor, " n"] | None  # which of them are packed together, if any are


def cut(
    batch: Batch, units: Sequence[list[int]], token_budget: int, sharing: Sharing | None
) -> Iterator[MicroBatch]:
    """Micro-batches of the rows of some units, which stay together, in lines that cost least."""
    coupled = any(len(unit) > 1 for unit in units)
    lines, units_of_lines = list[list[int]](), list[list[int]]()
    for rows in units if coupled else [[row for unit in units for row in unit]]:
        of_rows = sharing.lines(batch, rows) if sharing else [[row] for row in rows]
        numbers = range(len(lines), len(lines) + len(of_rows))
        units_of_lines += [list(numbers)] if coupled else [[number] for number in numbers]
        lines += of_rows
    lengths = batch.sequence_lengths.cpu()
    own = (batch.sequence_lengths - batch.prompt_lengths).cpu()
    sizes = [int(lengths[first] + own[others].sum()) for first, *others in lines]
    for index in micro_batches(torch.tensor(sizes), token_budget, units_of_lines):
        chosen = [lines[i] for i in index]
        pairs = [(row, number) for number, line in enumerate(chosen) for row in line]
        together, line = torch.tensor(pairs, device=batch.mask.device).unbind(-1)
        yield MicroBatch(together, line if len(pairs) > len(chosen) else None)


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
