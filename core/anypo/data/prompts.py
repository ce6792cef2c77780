"""Turn the rows of a data set into prompts, and the completions that they hold into tokens."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from anypo.data.chat import Example
from anypo.data.content import as_texts
from anypo.data.formats import Columns, Row
from anypo.data.tally import Limits, Tally
from anypo.data.template import EMPTY_REPLY
from anypo.data.tokens import Tokens
from anypo.errors import DataError
from anypo.hooks.batch import Completion, Prompt
from anypo.hooks.rollout import Inputs


class _TooLongError(DataError):
    """A prompt has more tokens than allowed."""

    def __init__(self, length: int, limit: int) -> None:
        super().__init__(
            f"the prompt has {length} tokens, the limit is {limit}; "
            "shorten it, or raise max_prompt_length if the model attends to more"
        )
        self.length = length


def read_prompts(
    rows: Iterable[Row], tokens: Tokens, inputs: Inputs, limits: Limits, tally: Tally
) -> Iterator[tuple[int, Prompt]]:
    """The tokenised prompts of the rows of a data set, each with the number of its row.

    A prompt is a string, or a list of messages that goes through the tokenizer's chat template.
    So is a completion. It gets an end-of-sequence token, and is cut where it is too long. Rows that
    one row became follow each other.

    Bad are rows that have a flaw or lack a column, or whose content is unusable. They are left out,
    and so are those whose completions are alike.

    Args:
        rows: In the format that the inputs are of.
        tokens: Makes them.
        inputs: What is read of a row.
        limits: How long all may be.
        tally: Is told what is found and lost.
    """
    for number, parts in groupby(rows, lambda row: row.number):
        try:
            read = [_read(row, tokens, inputs, limits, tally) for row in parts]
        except _TooLongError as error:
            if limits.long_prompts == "drop":
                tally.too_long[number] = error.length
            else:
                tally.bad[number] = str(error)
        except DataError as error:
            tally.bad[number] = str(error)
        else:
            yield from ((number, prompt) for prompt in _told_apart(number, read, tally))


def _told_apart(
    number: int, read: Sequence[tuple[Prompt, Example]], tally: Tally
) -> Iterator[Prompt]:
    """A row's prompts, each given with what it was uncut, unless completions are alike."""
    left = [(prompt, c) for prompt, _ in read for c in prompt.completions.values()]
    if _has_same(one.prompt + c.ids for _, one in read for c in one.completions.values()):
        tally.identical.append(number)
    elif _has_same(prompt.ids + completion.ids for prompt, completion in left):
        tally.cut_alike.append(number)
    else:
        tally.cut += sum(completion.truncated for _, completion in left)
        tally.unlearnt += sum(whole.unlearnt for _, whole in read)
        tally.dropped += [number] if any(whole.dropped for _, whole in read) else []
        for prompt, _ in read:
            tally.add(prompt)
            yield prompt


def _has_same(rows: Iterable[list[int]]) -> bool:
    keys = [tuple(row) for row in rows]
    return len(set(keys)) < len(keys)


def _read(
    given: Row, tokens: Tokens, inputs: Inputs, limits: Limits, tally: Tally
) -> tuple[Prompt, Example]:
    """The prompt of a row, and what it had before anything was cut."""
    tally.meet(given)
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
    ids = whole.prompt
    if len(ids) > limits.prompt:
        if limits.long_prompts != "cut":
            raise _TooLongError(len(ids), limits.prompt)
        tally.too_long[given.number] = len(ids)
        ids = _end_of(ids, tokens.chat.first, limits.prompt)
    completions = {c: _cut(c, one, limits.completion) for c, one in whole.completions.items()}
    if not ids:
        ids, completions = _first_as_prompt(completions)
    checked = {c: CHECKS[c](c, row[c]) for c in inputs.columns & CHECKS.keys()}
    columns = {c: value for c, value in row.items() if c != "prompt"} | checked
    return Prompt(ids, row["prompt"], columns, completions), whole


def _end_of(ids: list[int], first: list[int], limit: int) -> list[int]:
    """The last tokens of a prompt, after those that the tokenizer puts before every text."""
    kept = first if ids[: len(first)] == first and len(first) < limit else []
    return kept + ids[len(ids) - limit + len(kept) :]


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


def followed_by(prompt: Prompt, more: str | Sequence[Any], tokens: Tokens) -> Prompt:
    """See `anypo.Sampler`."""
    content = prompt.content
    if isinstance(content, str):
        if not isinstance(more, str):
            raise DataError("messages cannot follow a prompt that is a text")
        content += more
    elif isinstance(more, str):
        content = [*content[:-1], {**content[-1], "content": content[-1]["content"] + more}]
    else:
        content = [*content, *more]
    return with_content(prompt, content, tokens)


def with_content(prompt: Prompt, content: Any, tokens: Tokens) -> Prompt:
    """A prompt with other content, and without the completions of its row.

    Raises:
        DataError: It is neither a text nor a conversation that fits the chat template.
    """
    options = template_options({**prompt.columns, "prompt": content})
    ids = tokens.prompt(content, options=options)
    return replace(prompt, ids=ids, content=content, completions={})


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
