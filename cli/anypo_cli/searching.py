"""`anypo list --search`: the plugins that say some words of themselves."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from anypo.hooks.registry import Entry
from anypo_cli.families import heading
from anypo_cli.printing import say


def found(entries: Sequence[Entry], words: Iterable[str]) -> list[Entry]:
    """Those whose name, docstrings or descriptions hold all words, in any order.

    A word that none of them holds is taken for the nearest that one does. Where none holds all,
    those that hold most of them are given, and that is said.
    """
    texts = {entry.full_name + entry.kind: _text(entry) for entry in entries}
    meant = [_nearest(word.lower(), texts.values()) for word in words]
    held = [sum(word in texts[e.full_name + e.kind] for word in meant) for e in entries]
    most = max(held, default=0)
    if most < len(meant):
        some = f"; these say {most} of them" if most else ""
        say(f"note: no plugin says all of {', '.join(meant)}{some}")
    return [entry for entry, n in zip(entries, held, strict=True) if n == most > 0]


def _text(entry: Entry) -> str:
    """All that a plugin says of itself, in lower case."""
    said = [entry.name, heading(entry)]
    try:
        tree, definition = entry.parsed()
        said.append(ast.get_docstring(tree) or "")
        said += [
            node.value
            for node in ast.walk(definition or tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
    except Exception:  # it is broken, which the list says
        pass
    return " ".join(" ".join(said).lower().split())


def _nearest(word: str, texts: Iterable[str]) -> str:
    """The word, or the nearest that a text holds if none holds it."""
    if any(word in text for text in texts):
        return word
    known = sorted({known for text in texts for known in re.findall(r"[\w-]{3,}", text)})
    close = get_close_matches(word, known, n=1)
    if close:
        say(f"note: no plugin says '{word}'; this is what says '{close[0]}'")
    return close[0] if close else word
