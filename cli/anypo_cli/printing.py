"""Print what others wrote: never as markup, and never what a terminal would obey."""

from __future__ import annotations

import sys

from rich.markup import escape
from rich.text import Text

from anypo.errors import printable

LONGEST = 2000  # characters of a line


def say(sentence: str) -> None:
    """Print one line on standard error, of a long one the beginning and the end."""
    line = " ".join(printable(sentence).split())
    if len(line) > LONGEST:
        line = f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
    print(line, file=sys.stderr)


def plain(text: object, style: str = "") -> Text:
    """A text of others for rich, as it is."""
    return Text(printable(text), style)


def escaped(text: object) -> str:
    """A text of others for typer, which takes help for markup."""
    return escape(printable(text))
