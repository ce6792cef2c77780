"""The formats of data sets, which are TRL's, and the way from one to another.

prompt only               prompt
prompt and completion     prompt, completion       or `messages`, or `text`
preferences               prompt, chosen, rejected   or without prompt: what both begin with
unpaired preferences      prompt, completion, label   or pairs: chosen is true, rejected false
stepwise supervision      prompt, completions, labels   a step each; a row up to every one of them

A prompt and what follows it are texts or lists of messages.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import accumulate, chain, takewhile
from pathlib import Path
from typing import Any

from anypo.errors import DataError
from anypo.support.sequences import shared_start

CONVERSATIONS = {"prompt", "completion", "chosen", "rejected", "messages"}  # or texts
Columns = dict[str, Any]


@dataclass(frozen=True)
class Row:
    """A row of a data set, or one of several that it became."""

    number: int  # in the data set, from 1
    columns: Columns
    flaw: str = ""  # why it cannot be used


@dataclass(frozen=True)
class Rows:
    """The rows of a data set, which are read anew each time somebody goes through them."""

    name: str
    source: Iterable[Columns]
    files: Sequence[Path] = ()  # that hold them, if any do

    def __iter__(self) -> Iterator[Row]:
        return (Row(number, columns) for number, columns in enumerate(self.source, 1))

    @property
    def columns(self) -> list[str]:
        """Those that at least half of the rows have: one odd row changes no format."""
        return [column for column, count in self._survey[1].items() if 2 * count >= self.total]

    @property
    def total(self) -> int:
        """How many rows there are."""
        return self._survey[0]

    @cached_property
    def _survey(self) -> tuple[int, Counter[str]]:
        total, having = 0, Counter[str]()
        for columns in self.source:
            total += 1
            having.update(columns.keys())
        return total, having


@dataclass(frozen=True)
class Converter:
    """A way from one format to another."""

    takes: tuple[str, ...]  # columns
    makes: tuple[str, ...]  # and is needed where the last of them is wanted but not there
    convert: Callable[..., list[Columns]]  # of what the columns hold that it takes


def converted(rows: Iterable[Row], ways: Iterable[Converter]) -> Iterator[Row]:
    """The rows of a data set in the format to which the ways lead.

    A row that is not of the usual format is given the flaw that it has.
    """
    for way in ways:
        rows = chain.from_iterable(map(partial(_converted, way), rows))
    yield from rows


def ways_to(wanted: Collection[str], columns: Collection[str]) -> list[Converter]:
    """What gives a data set that has some columns the wanted ones, where there is a way to them."""
    ways, reached = [], set(columns)
    for way in _CONVERTERS:
        if _applies(way, reached, wanted):
            ways.append(way)
            reached |= set(way.makes)
    return ways


def columns_in_reach(columns: Collection[str], wanted: Collection[str]) -> list[str]:
    """The columns that a data set has after the ways to the wanted ones."""
    reached = list(columns)
    for way in ways_to(wanted, columns):
        reached = [name for name in reached if name not in {*way.takes, *way.makes}]
        reached += way.makes
    return reached


def _applies(way: Converter, columns: Collection[str], wanted: Collection[str]) -> bool:
    needed_for = way.makes[-1]
    is_needed = needed_for in {"prompt", *wanted} and needed_for not in columns
    return is_needed and set(way.takes) <= set(columns)


def _converted(way: Converter, row: Row) -> list[Row]:
    rest = {name: value for name, value in row.columns.items() if name not in way.takes}
    try:
        if row.flaw:
            raise DataError(row.flaw)
        made = way.convert(*(_present(row.columns, column) for column in way.takes))
    except DataError as error:  # it still counts as one that has what others are given
        return [replace(row, columns=dict.fromkeys(way.makes) | row.columns, flaw=str(error))]
    return [replace(row, columns=rest | new) for new in made]


def _present(columns: Columns, column: str) -> Any:
    if column not in columns:
        raise DataError(f"there is no '{column}', only {', '.join(columns)}")
    if columns[column] is None:
        raise DataError(f"'{column}' is null")
    return columns[column]


def _split_conversation(messages: Any) -> list[Columns]:
    """All from the first reply to somebody on is the completion; a greeting answers nobody."""
    if not isinstance(messages, list):
        raise DataError(f"'messages' is {messages!r:.60}, not a list of messages")
    greeting = len(list(takewhile(is_reply, messages)))
    asked = len(list(takewhile(lambda message: not is_reply(message), messages[greeting:])))
    start = greeting + asked
    if messages and start == len(messages):
        roles = [message.get("role") for message in messages if isinstance(message, dict)]
        raise DataError(f"'messages' holds no reply of the 'assistant' to anybody: it has {roles}")
    return [{"prompt": messages[:start], "completion": messages[start:]}]


def is_reply(message: Any) -> bool:
    """Whether it is a message of the assistant."""
    return isinstance(message, dict) and message.get("role") == "assistant"


def _split_shared_start(chosen: Any, rejected: Any) -> list[Columns]:
    """What chosen and rejected begin with is the prompt; of neither it takes all."""
    if isinstance(chosen, str) and isinstance(rejected, str):
        shared = _shared_text(chosen, rejected)
    elif isinstance(chosen, list) and isinstance(rejected, list):
        shared = max(0, min(shared_start(chosen, rejected), len(chosen) - 1, len(rejected) - 1))
    else:
        raise DataError(
            f"'chosen' is {chosen!r:.40} and 'rejected' is {rejected!r:.40}: both have to be "
            "texts, or both lists of messages"
        )
    return [{"chosen": chosen[shared:], "rejected": rejected[shared:], "prompt": chosen[:shared]}]


def _shared_text(chosen: str, rejected: str) -> int:
    shared = shared_start(chosen, rejected)
    used_up = [text for text in (chosen, rejected) if not text[shared:].strip()]
    if used_up:
        last_words = [re.search(r"\s\S+\s*\Z", text) for text in used_up]
        return min(shared, *(found.start() if found else 0 for found in last_words))
    return shared - chosen[:shared].endswith(" ")  # tokenizers keep a space with the word after it


def _unpair(chosen: Any, rejected: Any) -> list[Columns]:
    """Two labelled rows of one pair."""
    return [{"completion": chosen, "label": True}, {"completion": rejected, "label": False}]


def _up_to_each_step(completions: Any, labels: Any) -> list[Columns]:
    """A row for every step: all up to it, one step a line, and whether the step is right."""
    if not (isinstance(completions, list) and isinstance(labels, list)):
        raise DataError(
            f"'completions' is {completions!r:.40} and 'labels' is {labels!r:.40}: both have to be "
            "lists, of texts and of whether each is right"
        )
    if not completions:
        raise DataError("'completions' has no step to be labelled")
    if len(completions) != len(labels) or not all(isinstance(step, str) for step in completions):
        raise DataError(
            f"'completions' has {len(completions)} steps and 'labels' has {len(labels)}: there has "
            "to be a text and a label for each step"
        )
    lines = accumulate(completions, "{}\n{}".format)
    pairs = zip(lines, labels, strict=True)
    return [{"completion": text, "label": label} for text, label in pairs]


_CONVERTERS = (
    Converter(("messages",), ("prompt", "completion"), _split_conversation),
    Converter(
        ("text",), ("prompt", "completion"), lambda text: [{"prompt": "", "completion": text}]
    ),
    Converter(("chosen", "rejected"), ("chosen", "rejected", "prompt"), _split_shared_start),
    Converter(("chosen", "rejected"), ("completion", "label"), _unpair),
    Converter(("completions", "labels"), ("completion", "label"), _up_to_each_step),
)
