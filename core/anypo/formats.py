"""The formats of data sets, which are TRL's, and the way from one to another.

prompt only               prompt
prompt and completion     prompt, completion       or `messages`, or `text`
preferences               prompt, chosen, rejected   or without prompt: what both begin with
unpaired preferences      prompt, completion, label   or pairs: chosen is true, rejected false

A prompt and what follows it are texts or lists of messages.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from anypo.errors import DataError

Row = dict[str, Any]


@dataclass(frozen=True)
class Converter:
    """A way from one format to another."""

    takes: tuple[str, ...]  # columns
    is_needed: Callable[[Collection[str], Collection[str]], bool]  # of columns there are and wanted
    convert: Callable[[Row], list[Row]]


def converted(rows: Sequence[Row], wanted: Collection[str], name: str = "") -> list[Row]:
    """The rows, in the format that has the wanted columns where there is a way to it.

    Args:
        rows: Of a data set; the first tells its format.
        wanted: Columns that an algorithm reads beside the prompt.
        name: What to call the data set in an error.

    Raises:
        DataError: A row is not of the format that the first one has.
    """
    for way in _CONVERTERS:
        if set(way.takes) <= rows[0].keys() and way.is_needed(rows[0].keys(), wanted):
            for number, row in enumerate(rows, 1):
                if missing := [column for column in way.takes if row.get(column) is None]:
                    there = ", ".join(row)
                    raise DataError(
                        f"row {number} of '{name}': there is no '{missing[0]}', only {there}"
                    )
            rows = [new for row in rows for new in way.convert(row)]
    return list(rows)


def _split_conversation(row: Row) -> list[Row]:
    """All from the first reply on is the completion."""
    rest = {name: value for name, value in row.items() if name != "messages"}
    messages = row["messages"]
    if not isinstance(messages, list):
        return [{**rest, "prompt": messages, "completion": messages}]
    before = list(takewhile(lambda message: not _is_reply(message), messages))
    return [{**rest, "prompt": before, "completion": messages[len(before) :]}]


def _is_reply(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant"


def _complete_nothing(row: Row) -> list[Row]:
    """A text is the completion of an empty prompt."""
    rest = {name: value for name, value in row.items() if name != "text"}
    return [{**rest, "prompt": "", "completion": row["text"]}]


def _split_shared_start(row: Row) -> list[Row]:
    """What chosen and rejected begin with is the prompt."""
    chosen, rejected = row["chosen"], row["rejected"]
    if type(chosen) is not type(rejected) or not isinstance(chosen, str | list):
        return [{**row, "prompt": None}]
    pairs = zip(chosen, rejected, strict=False)
    shared = len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
    if isinstance(chosen, str) and chosen[:shared].endswith(" "):
        shared -= 1  # tokenizers keep a space with the word that follows it
    split = {"prompt": chosen[:shared], "chosen": chosen[shared:], "rejected": rejected[shared:]}
    return [{**row, **split}]


def _unpair(row: Row) -> list[Row]:
    """Two labelled rows of one pair."""
    rest = {name: value for name, value in row.items() if name not in ("chosen", "rejected")}
    return [
        {**rest, "completion": row["chosen"], "label": True},
        {**rest, "completion": row["rejected"], "label": False},
    ]


_CONVERTERS = (
    Converter(
        ("messages",),
        lambda has, wanted: "completion" in wanted and "completion" not in has,
        _split_conversation,
    ),
    Converter(
        ("text",),
        lambda has, wanted: "completion" in wanted and "completion" not in has,
        _complete_nothing,
    ),
    Converter(("chosen", "rejected"), lambda has, _: "prompt" not in has, _split_shared_start),
    Converter(
        ("chosen", "rejected"),
        lambda has, wanted: "label" in wanted and "label" not in has,
        _unpair,
    ),
)
