"""The formats of data sets, which are TRL's, and the way from one to another.

prompt only               prompt
prompt and completion     prompt, completion       or `messages`, or `text`
preferences               prompt, chosen, rejected   or without prompt: what both begin with
unpaired preferences      prompt, completion, label   or pairs: chosen is true, rejected false

A prompt and what follows it are texts or lists of messages.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import takewhile
from typing import Any

Row = dict[str, Any]
Converter = Callable[[Row], list[Row]]


def converted(rows: Sequence[Row], wanted: Collection[str]) -> list[Row]:
    """The rows, in the format that has the wanted columns where there is a way to it.

    Args:
        rows: Of a data set; the first tells its format.
        wanted: Columns that an algorithm reads beside the prompt.
    """
    for is_needed, convert in _CONVERTERS:
        if is_needed(rows[0].keys(), set(wanted)):
            rows = [new for row in rows for new in convert(row)]
    return list(rows)


def _split_conversation(row: Row) -> list[Row]:
    """All from the first reply on is the completion."""
    rest = dict(row)
    messages = rest.pop("messages") or []
    before = list(takewhile(lambda message: not _is_reply(message), messages))
    return [{**rest, "prompt": before, "completion": messages[len(before) :]}]


def _is_reply(message: Any) -> bool:
    return isinstance(message, dict) and message.get("role") == "assistant"


def _complete_nothing(row: Row) -> list[Row]:
    """A text is the completion of an empty prompt."""
    rest = dict(row)
    return [{**rest, "prompt": "", "completion": rest.pop("text")}]


def _split_shared_start(row: Row) -> list[Row]:
    """What chosen and rejected begin with is the prompt."""
    chosen: Any = row.get("chosen")
    rejected: Any = row.get("rejected")
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
        {**rest, "completion": row.get("chosen"), "label": True},
        {**rest, "completion": row.get("rejected"), "label": False},
    ]


_CONVERTERS: list[tuple[Callable[[Collection[str], set[str]], bool], Converter]] = [
    (
        lambda has, wanted: "completion" in wanted - {*has} and "messages" in has,
        _split_conversation,
    ),
    (
        lambda has, wanted: "completion" in wanted - {*has} and "text" in has,
        _complete_nothing,
    ),
    (
        lambda has, _: "prompt" not in has and {"chosen", "rejected"} <= {*has},
        _split_shared_start,
    ),
    (
        lambda has, wanted: "label" in wanted - {*has} and {"chosen", "rejected"} <= {*has},
        _unpair,
    ),
]
