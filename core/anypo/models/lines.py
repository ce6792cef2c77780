"""Which rows go through a model together, and which of them in one line."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from anypo.hooks.batch import Batch
from anypo.models.micro_batches import micro_batches

WORTH = 1.05  # what packing and its mask cost beside
COPIED = 64  # tokens that a token is compared with while its keys and values are copied


class MicroBatch(NamedTuple):
    """Rows that go through the model together."""

    rows: Int[Tensor, " n"]
    line: Int[Tensor, " n"] | None  # the number of the line of each, if some share one
    by_parts: bool = False  # whether prompts and completions of a line attend apart
    counts: bool = True  # not one that only keeps step with other processes


@dataclass(frozen=True)
class Sharing:
    """What lines cost, in operations, where rows with one prompt may share one."""

    token: float  # of the matrix products of a token
    pair: float  # of the attention of one token to another
    up_to: int  # tokens of a row that may be in a line with others
    line: int  # tokens of such a line, at most
    by_parts: bool = False  # whether a completion there is not compared with the others

    def cost(self, lines: "Lines") -> float:
        """Of the micro-batches of lines, padding and hidden attention included."""
        longest = [(index, int(lines.sizes[index].max())) for index in lines.parts()]
        products = sum(self.token * len(index) * n for index, n in longest)
        # Without a mask, attention looks at nothing that comes later.
        if not lines.shared:
            return products + self.pair / 2 * sum(len(index) * n * n for index, n in longest)
        pairs = sum(lines.shape_of(index).pairs(n, by_parts=self.by_parts) for index, n in longest)
        return WORTH * (products + self.pair * pairs)

    def parts_pay(self, lines: "Lines", index: Int[Tensor, " n"]) -> bool:
        """Whether it takes less than a mask that the parts of some lines attend apart."""
        return self.by_parts and lines.shape_of(index).parts_pay(int(lines.sizes[index].max()))


class Shape(NamedTuple):
    """Of lines that hold prompts and completions, padding included."""

    lines: int
    rows: int
    prompt: int  # tokens of the longest
    own: int  # tokens of the longest completion

    def pairs(self, width: int, *, by_parts: bool) -> float:
        """How many tokens attention compares with another, or what takes as long.

        Args:
            width: Tokens of a line.
            by_parts: Whether prompts and completions may attend apart, which they do if it pays.
        """
        whole = self.lines * width**2
        return min(whole, self._pairs_by_parts) if by_parts else whole

    def parts_pay(self, width: int) -> bool:
        """Whether a mask of the line would take longer."""
        return self._pairs_by_parts < self.lines * width**2

    @property
    def _pairs_by_parts(self) -> float:
        seen = self.rows * (self.prompt + self.own)
        return self.lines * self.prompt**2 / 2 + self.own * seen + COPIED * seen


class Text(NamedTuple):
    """A row."""

    prompt: tuple[int, ...]  # token ids
    own: int  # tokens of its completion


class Fill(NamedTuple):
    """How much goes into a line, unless a row alone is more."""

    rows: int
    tokens: int


@dataclass(frozen=True)
class Lines:
    """Rows in lines."""

    texts: list[Text]
    rows: list[list[int]]  # of each line
    units: list[list[int]]  # lines that stay together
    sizes: Int[Tensor, " lines"]  # tokens
    token_budget: int  # of a micro-batch, padding included

    @property
    def shared(self) -> bool:
        """Whether some rows share a line."""
        return any(len(rows) > 1 for rows in self.rows)

    def shape_of(self, index: Int[Tensor, " n"]) -> Shape:
        """The shape of some lines."""
        texts = [self.texts[row] for line in index for row in self.rows[line]]
        prompt, own = max(len(text.prompt) for text in texts), max(text.own for text in texts)
        return Shape(len(index), len(texts), prompt, own)

    def parts(self) -> Iterator[Int[Tensor, " n"]]:
        """The lines of every micro-batch."""
        return micro_batches(self.sizes, self.token_budget, self.units)


def cut(
    batch: Batch, units: Sequence[list[int]], token_budget: int, sharing: Sharing | None
) -> Iterator[MicroBatch]:
    """Micro-batches of the rows of some units, in the lines that cost least.

    Args:
        batch: With `input_ids`, `prompt_lengths` and `sequence_lengths`.
        units: Rows that no micro-batch may separate.
        token_budget: Tokens of a micro-batch, padding included.
        sharing: Without it each row has a line of its own.
    """
    coupled = any(len(unit) > 1 for unit in units)
    texts = _texts(batch)
    bags = list(units) if coupled else [[row for unit in units for row in unit]]
    alike = [_with_one_prompt(texts, bag, sharing.up_to if sharing else 0) for bag in bags]
    most = max(len(same) for bag in alike for same in bag) if units else 1
    limit = min(token_budget, sharing.line) if sharing else 0
    ways = [
        _in_lines(texts, alike, Fill(2**power, limit), coupled, token_budget)
        for power in range((most - 1).bit_length() + 1)
    ]
    lines = min(ways, key=sharing.cost) if sharing else ways[0]
    for index in lines.parts():
        pairs = [(row, number) for number, i in enumerate(index) for row in lines.rows[i]]
        rows, line = torch.tensor(pairs, device=batch.mask.device).unbind(-1)
        if sharing and lines.shared:
            yield MicroBatch(rows, line, sharing.parts_pay(lines, index))
        else:
            yield MicroBatch(rows, None)


def _texts(batch: Batch) -> list[Text]:
    """What the rows are made of; a GPU is waited for once."""
    columns = batch.input_ids, batch.prompt_lengths, batch.sequence_lengths
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return [Text(tuple(ids[:prompt]), length - prompt) for ids, prompt, length in rows]


def _with_one_prompt(texts: list[Text], rows: list[int], up_to: int) -> list[list[int]]:
    """The rows by their prompts; those that are longer than `up_to` tokens by themselves."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for row in rows:
        prompt, own = texts[row]
        key = (row,) if len(prompt) + own > up_to else (-1, *prompt)
        alike.setdefault(key, []).append(row)
    return list(alike.values())


def _in_lines(
    texts: list[Text], alike: list[list[list[int]]], fill: Fill, coupled: bool, token_budget: int
) -> Lines:
    """Rows of one prompt in lines, filled alike."""
    rows, sizes, units = list[list[int]](), list[int](), list[list[int]]()
    for bag in alike:
        began = len(rows)
        for same in bag:
            for place, row in enumerate(same):
                prompt, own = texts[row]
                if place == 0 or len(rows[-1]) == fill.rows or sizes[-1] + own > fill.tokens:
                    rows.append([])
                    sizes.append(len(prompt))
                rows[-1].append(row)
                sizes[-1] += own
        numbers = list(range(began, len(rows)))
        units += [numbers] if coupled else [[number] for number in numbers]
    return Lines(texts, rows, units, torch.tensor(sizes), token_budget)
