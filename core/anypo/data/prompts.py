"""Turn the rows of a data set into prompts, and the completions that they hold into tokens."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from transformers import PreTrainedTokenizerBase

from anypo.data.chat import Example
from anypo.data.formats import Row
from anypo.data.tokens import Tokens
from anypo.errors import DataError
from anypo.hooks.batch import Completion, Prompt
from anypo.hooks.rollout import Inputs


@dataclass
class Prompts:
    """The prompts of a data set, and what was done to its rows."""

    prompts: list[Prompt] = field(default_factory=list)
    cut: int = 0  # completions that were longer than allowed
    identical: list[int] = field(default_factory=list)  # rows left out: nothing tells them apart
    cut_alike: list[int] = field(default_factory=list)  # rows left out: nothing but what was cut
    only_last: int = 0  # rows of whose completions only the last reply is learnt


def to_prompts(
    name: str,
    rows: Sequence[Row],
    tokenizer: PreTrainedTokenizerBase,
    inputs: Inputs,
    max_prompt_length: int,
    max_completion_length: int,
    *,
    originals: int | None = None,
) -> Prompts:
    """The tokenised prompts of the rows of a data set, each with its other columns.

    A prompt is a string, or a list of messages that goes through the tokenizer's chat template.
    So is a completion. It gets an end-of-sequence token, and is cut where it is too long.

    Args:
        name: What to call the data set in an error.
        rows: See `load_rows`.
        tokenizer: Of the model that will complete the prompts.
        inputs: What of a row is read beside its prompt.
        max_prompt_length: In tokens; a longer prompt is an error, never cut in silence.
        max_completion_length: In tokens.
        originals: Rows that the data set had before each became several.

    Raises:
        DataError: A row lacks a column, or its content is unusable.
    """
    reader = _Reader(tokenizer, inputs, max_prompt_length, max_completion_length)
    found = Prompts()
    read = _numbered(name, rows, originals or len(rows), reader.read)
    for number, group in groupby(read, lambda pair: pair[0]):
        _add(found, number, [one for _, one in group])
    if not found.prompts:
        raise DataError(_nothing_left(name, found, max_completion_length))
    return found


@dataclass(frozen=True)
class _Read:
    """A row that was read."""

    prompt: Prompt
    whole: Example  # before anything was cut


def _numbered(
    name: str, rows: Sequence[Row], originals: int, read: Callable[[Row], _Read]
) -> Iterator[tuple[int, _Read]]:
    """What each row holds, with the number of the row that it comes from."""
    for index, row in enumerate(rows):
        number = 1 + index * originals // len(rows)
        try:
            yield number, read(row)
        except DataError as error:
            raise DataError(f"row {number} of '{name}': {error}") from error


def _add(found: Prompts, number: int, parts: Sequence[_Read]) -> None:
    """Add what became of one row, unless it holds the same completion twice."""
    if _has_same(one.whole.prompt + c.ids for one in parts for c in one.whole.completions.values()):
        found.identical.append(number)
        return
    completions = [(one.prompt, c) for one in parts for c in one.prompt.completions.values()]
    if _has_same(prompt.ids + completion.ids for prompt, completion in completions):
        found.cut_alike.append(number)
        return
    found.cut += sum(completion.truncated for _, completion in completions)
    found.only_last += any(one.whole.only_last for one in parts)
    found.prompts += [one.prompt for one in parts]


def _has_same(rows: Iterator[list[int]]) -> bool:
    keys = [tuple(row) for row in rows]
    return len(set(keys)) < len(keys)


def _nothing_left(name: str, found: Prompts, limit: int) -> str:
    if not found.cut_alike:
        return f"every row of '{name}' holds the same completion twice"
    beyond = f"differ only beyond max_completion_length ({limit}): raise it"
    if not found.identical:
        return f"the completions of every row of '{name}' {beyond}"
    return (
        f"no row of '{name}' is left: {len(found.identical)} hold the same completion twice, "
        f"those of {len(found.cut_alike)} {beyond}"
    )


class _Reader:
    """Reads one row after the other."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, inputs: Inputs, max_prompt: int, max_new: int
    ) -> None:
        self.text, self.inputs = Tokens(tokenizer), inputs
        self.max_prompt, self.max_new = max_prompt, max_new

    def read(self, row: Row) -> _Read:
        missing = sorted({"prompt", *self.inputs.completions, *self.inputs.columns} - row.keys())
        if missing:
            raise DataError(f"there is no '{missing[0]}', only {', '.join(row)}")
        whole = self._example(row)
        if len(whole.prompt) > self.max_prompt:
            raise DataError(
                f"the prompt has {len(whole.prompt)} tokens, the limit is {self.max_prompt}; "
                "shorten it, or raise max_prompt_length if the model attends to more"
            )
        ids = whole.prompt
        completions = {c: self._cut(c, held) for c, held in whole.completions.items()}
        if not ids:  # nothing predicts the first token, so it is not learnt
            ids, completions = _first_as_prompt(completions)
        columns = {column: value for column, value in row.items() if column != "prompt"}
        columns |= {c: CHECKS[c](c, row[c]) for c in self.inputs.columns if c in CHECKS}
        return _Read(Prompt(ids, row["prompt"], columns, completions), whole)

    def _example(self, row: Row) -> Example:
        options = _template_options(row)
        if not self.inputs.completions:
            return Example(self.text.prompt(row["prompt"], options=options))
        held = {column: row[column] for column in sorted(self.inputs.completions)}
        example = self.text.example(row["prompt"], held, options)
        for column, content in held.items():
            if self.text.says_nothing(content):
                raise DataError(f"'{column}' is empty")
        return example

    def _cut(self, column: str, completion: Completion) -> Completion:
        if len(completion.ids) <= self.max_new:
            return completion
        mask = completion.mask and completion.mask[: self.max_new]
        if mask and not any(mask):
            raise DataError(
                f"'{column}' has nothing to learn from in its first {self.max_new} tokens; raise "
                "max_completion_length"
            )
        return Completion(completion.ids[: self.max_new], mask, truncated=True)


def _template_options(row: Row) -> Mapping[str, Any]:
    """What the chat template is given beside the messages: TRL's columns for that."""
    if not isinstance(row["prompt"], list):
        return {}
    tools, further = row.get("tools"), row.get("chat_template_kwargs")
    try:
        tools = json.loads(tools) if tools and isinstance(tools, str) else tools
    except json.JSONDecodeError as error:
        raise DataError(f"'tools' is a text but not JSON: {error}") from error
    if tools and not isinstance(tools, list):
        raise DataError(f"'tools' is {tools!r:.60}, not a list of tools")
    if further and not isinstance(further, dict):
        raise DataError(f"'chat_template_kwargs' is {further!r:.60}, not an object")
    return {**(further or {}), **({"tools": tools} if tools else {})}


def _first_as_prompt(
    completions: dict[str, Completion],
) -> tuple[list[int], dict[str, Completion]]:
    firsts = {completion.ids[0] for completion in completions.values()}
    if len(firsts) > 1 or any(len(completion.ids) < 2 for completion in completions.values()):
        raise DataError("the prompt is empty, and the completions begin with different tokens")
    rest = {
        name: Completion(c.ids[1:], c.mask and c.mask[1:], c.truncated)
        for name, c in completions.items()
    }
    return list(firsts), rest


def _boolean(column: str, value: Any) -> bool:
    if not (isinstance(value, int) and value in (0, 1)):  # CSV and Parquet often hold numbers
        raise DataError(f"'{column}' is {value!r:.60}, not true or false, nor 1 or 0")
    return bool(value)


def _number(column: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise DataError(f"'{column}' is {value!r:.60}, not a finite number")
    return float(value)


CHECKS = {"label": _boolean, "margin": _number}  # columns whose type the formats fix
