"""The prompt once for all of its completions: rows that share one are packed into one line.

A line is a prompt and then completions of it, one after the other. The positions of each go on from
the prompt, and it sees the prompt and itself alone: by `line_attention`, or by a mask.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anypo.hooks.batch import Batch
from anypo.models.layout import Layout
from anypo.models.line_attention import marked, parts_of


def packed(
    batch: Batch, line: Int[Tensor, " N"], dtype: torch.dtype, *, by_parts: bool = False
) -> Layout:
    """The prompt of every line, and its completions one after the other.

    Args:
        batch: The rows of a line next to each other.
        line: Of every row, the number of its line: 0, 1, and so on.
        dtype: Of attention scores.
        by_parts: Whether prompts and completions attend apart, and not under a mask of the line.
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

    ids, positions = lines(batch.input_ids[:, : len(columns)], 0), lines(columns, 0)
    if by_parts:
        mask = marked(parts_of(line, prompt[:, 0], places, real, ids.shape, dtype))
    else:
        row = torch.arange(len(batch), device=line.device)[:, None]
        mask = _mask(lines(torch.where(columns < prompt, -1, row), -2), dtype)
    inputs = {"input_ids": ids, "position_ids": positions, "attention_mask": mask}
    return Layout(inputs, places)


def _mask(owner: Int[Tensor, "R W"], dtype: torch.dtype) -> Float[Tensor, "R 1 W W"]:
    """Hides all but the prompt, whose owner is -1, and what has the same owner."""
    seen = (owner[:, None, :] == -1) | (owner[:, None, :] == owner[:, :, None])
    mask = torch.zeros(seen.shape, dtype=dtype, device=owner.device)
    return mask.masked_fill_(~seen.tril(), torch.finfo(dtype).min)[:, None]
