"""Turn the rows of a data set into prompts, and the completions that they hold into tokens."""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from transformers import PreTrainedTokenizerBase

from anypo.data.bad_rows import told
from anypo.data.chat import Example
from anypo.data.content import as_texts
from anypo.data.formats import Columns, Row
from anypo.data.template import EMPTY_REPLY
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
    unlearnt: int = 0  # replies that are not learnt: later messages change how they are rendered
    dropped: list[int] = field(default_factory=list)  # rows of which the chat template hides a part
    bad: dict[int, str] = field(default_factory=dict)  # rows left out: why they cannot be used

    def add(self, number: int, parts: Sequence[tuple[Prompt, Example]]) -> None:
        """Add a row's prompts, each given with what it was uncut, unless completions are alike."""
        left = [(prompt, c) for prompt, _ in parts for c in prompt.completions.values()]
        if _has_same(one.prompt + c.ids for _, one in parts for c in one.completions.values()):
            self.identical.append(number)
        elif _has_same(prompt.ids + completion.ids for prompt, completion in left):
            self.cut_alike.append(number)
        else:
            self.prompts += [prompt for prompt, _ in parts]
            self.cut += sum(completion.truncated for _, completion in left)
            self.unlearnt += sum(whole.unlearnt for _, whole in parts)
            self.dropped += [number] if any(whole.dropped for _, whole in parts) else []


def accept(prompt: Prompt) -> None:
    """Find nothing wrong with a row."""


def to_prompts(
    name: str,
    rows: Sequence[Row],
    tokenizer: PreTrainedTokenizerBase,
    inputs: Inputs,
    max_prompt_length: int,
    max_completion_length: int,
    *,
    scored: bool = False,
    skip_bad: bool = False,
    check: Callable[[Prompt], None] = accept,
) -> Prompts:
    """The tokenised prompts of the rows of a data set, each with its other columns.

    A prompt is a string, or a list of messages that goes through the tokenizer's chat template.
    So is a completion. It gets an end-of-sequence token, and is cut at `max_completion_length`
    tokens. Rows that one row became follow each other.

    Bad are rows that have a flaw or lack a column, whose content is unusable, whose prompt has more
    than `max_prompt_length` tokens (a prompt is never cut), or for which `check` raises DataError.

    With `scored` they are for a model that scores texts; see `Tokens`.

    Raises:
        DataError: Rows are bad, and not to be skipped; or none is left. The data set is called
            `name`.
    """
    tokens, found = Tokens(tokenizer, scored=scored), Prompts()
    limits = max_prompt_length, max_completion_length
    for number, parts in groupby(rows, lambda row: row.number):
        try:
            read = [_read(row, tokens, inputs, *limits) for row in parts]
            for prompt, _ in read:
                check(prompt)
        except DataError as error:
            found.bad[number] = str(error)
        else:
            found.add(number, read)
    if found.bad and not (skip_bad and found.prompts):
        advice = "; --bad-rows skip leaves such rows out" if found.prompts else ""
        raise DataError(told(name, found.bad, rows[-1].number) + advice)
    if not found.prompts:
        raise DataError(_nothing_left(name, found, max_completion_length))
    return found


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


def _has_same(rows: Iterable[list[int]]) -> bool:
    keys = [tuple(row) for row in rows]
    return len(set(keys)) < len(keys)


def _read(
    given: Row, tokens: Tokens, inputs: Inputs, max_prompt: int, max_new: int
) -> tuple[Prompt, Example]:
    """The prompt of a row, and what it had before anything was cut."""
    row = given.columns
    if given.flaw:
        raise DataError(given.flaw)
    missing = sorted({"prompt", *inputs.wanted} - row.keys())
    if missing:
        raise DataError(f"there is no '{missing[0]}', only {', '.join(row)}")
    row = row | {column: as_texts(row[column]) for column in ("prompt", *inputs.completions)}
    options = template_options(row)
    held = {column: row[column] for column in sorted(inputs.completions)}
    if held:
        whole = tokens.example(row["prompt"], held, options)
    else:
        whole = Example(tokens.prompt(row["prompt"], options=options))
    if empty := [column for column, content in held.items() if tokens.says_nothing(content)]:
        what = "is empty" if isinstance(held[empty[0]], str) else EMPTY_REPLY
        raise DataError(f"'{empty[0]}' {what}")
    if len(whole.prompt) > max_prompt:
        raise DataError(
            f"the prompt has {len(whole.prompt)} tokens, the limit is {max_prompt}; "
            "shorten it, or raise max_prompt_length if the model attends to more"
        )
    ids = whole.prompt
    completions = {c: _cut(c, completion, max_new) for c, completion in whole.completions.items()}
    if not ids:
        ids, completions = _first_as_prompt(completions)
    checked = {c: CHECKS[c](c, row[c]) for c in inputs.columns & CHECKS.keys()}
    columns = {c: value for c, value in row.items() if c != "prompt"} | checked
    return Prompt(ids, row["prompt"], columns, completions), whole


def _cut(column: str, completion: Completion, limit: int) -> Completion:
    if len(completion.ids) <= limit:
        return completion
    mask = completion.mask and completion.mask[:limit]
    if mask and not any(mask):
        raise DataError(
            f"'{column}' has nothing to learn from in its first {limit} tokens; raise "
            "max_completion_length"
        )
    return Completion(completion.ids[:limit], mask, truncated=True)


def template_options(row: Columns) -> Mapping[str, Any]:
    """What the chat template is given beside the messages: TRL's columns for that.

    Raises:
        DataError: They hold something else.
    """
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


def _first_as_prompt(held: dict[str, Completion]) -> tuple[list[int], dict[str, Completion]]:
    """Nothing predicts the first token, so it is not learnt."""
    firsts = {c.ids[0] for c in held.values()}
    if len(firsts) > 1 or any(len(c.ids) < 2 for c in held.values()):
        raise DataError("the prompt is empty, and the completions begin with different tokens")
    rest = {k: Completion(c.ids[1:], c.mask and c.mask[1:], c.truncated) for k, c in held.items()}
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
