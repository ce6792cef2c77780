"""The prompt once for all of its completions: rows that share one are packed into one line.

A line is a prompt and then completions of it, one after the other. The positions of each go on from
the prompt, and a mask lets it see the prompt and itself alone.
"""

from dataclasses import dataclass
from math import inf

import torch
from jaxtyping import Int
from torch import Tensor

from anypo.hooks.batch import Batch
from anypo.models.layout import Layout

WORTH = 1.05  # what packing and its mask cost beside


@dataclass(frozen=True)
class Sharing:
    """In which lines rows cost least, in operations: a mask hides some of them, and saves none."""

    token: float  # of the matrix products of a token
    pair: float  # of the attention of one token to another
    up_to: int  # tokens of a row that may be in a line with others
    budget: int  # tokens of a line of several rows, at most

    def lines(self, batch: Batch, rows: list[int]) -> list[list[int]]:
        """The given rows, those of a line together; all of a line have the same prompt."""
        prompts, lengths = batch.prompt_lengths.tolist(), batch.sequence_lengths.tolist()
        alike: dict[tuple[int, ...], list[int]] = {}
        for row in rows:
            alone = -1 if lengths[row] <= self.up_to else row
            prompt = batch.input_ids[row, : prompts[row]].tolist()
            alike.setdefault((alone, *prompt), []).append(row)

        def cost(lines: list[list[int]]) -> float:
            own = [sum(lengths[row] - prompts[row] for row in line) for line in lines]
            sizes = [prompts[line[0]] + n for line, n in zip(lines, own, strict=True)]
            if len(lines[0]) == 1:  # without a mask, nobody looks at what comes later
                return sum((n * (self.token + n * self.pair / 2) for n in sizes), 0.0)
            shared = WORTH * sum(n * (self.token + n * self.pair) for n in sizes)
            return shared if max(sizes) <= self.budget else inf

        return [line for same in alike.values() for line in min(_ways(same), key=cost)]


def _ways(rows: list[int]) -> list[list[list[int]]]:
    """To deal rows to lines, the same number to each."""
    sizes = [2**power for power in range(len(rows).bit_length() + 1)]
    return [[rows[at : at + n] for at in range(0, len(rows), n)] for n in sizes]


def packed(batch: Batch, line: Int[Tensor, " N"], dtype: torch.dtype) -> Layout:
    """The prompt of every line, and its completions one after the other.

    Args:
        batch: The rows of a line next to each other.
        line: Of every row, the number of its line: 0, 1, and so on.
        dtype: Of the mask that is added to attention scores.
    """
    prompt, own = batch.prompt_lengths[:, None], batch.sequence_lengths - batch.prompt_lengths
    columns = torch.arange(int(batch.sequence_lengths.max()), device=line.device)
    first = line.diff(prepend=line[:1] - 1) > 0
    before = own.cumsum(0) - own
    before -= before[first][line]  # tokens of the completions before it in its line
    width = int((batch.sequence_lengths + before).max())
    places = columns + line[:, None] * width + torch.where(columns < prompt, 0, before[:, None])
    real = columns < batch.sequence_lengths[:, None]

    def lines(rows: Tensor, filler: int) -> Int[Tensor, "R W"]:
        empty = rows.new_full((int(line[-1] + 1) * width,), filler)
        return empty.index_put((places[real],), rows.expand(real.shape)[real]).view(-1, width)

    row = torch.arange(len(batch), device=line.device)[:, None]
    owner = lines(torch.where(columns < prompt, -1, row), -2)
    seen = (owner[:, None, :] == -1) | (owner[:, None, :] == owner[:, :, None])
    mask = torch.zeros(seen.shape, dtype=dtype, device=line.device)
    mask.masked_fill_(~seen.tril(), torch.finfo(dtype).min)
    ids, positions = lines(batch.input_ids[:, : len(columns)], 0), lines(columns, 0)
    inputs = {"input_ids": ids, "position_ids": positions, "attention_mask": mask[:, None]}
    return Layout(inputs, places)
