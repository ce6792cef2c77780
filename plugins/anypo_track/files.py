"""What trackers read and keep in the directory of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

NAMES = "tracked.json"  # what trackers call the run


def known_as(directory: Path, tracker: str) -> str | None:
    """What a tracker calls the run; None if it has not seen it yet."""
    name = _names(directory).get(tracker)
    return None if name is None else str(name)


def remember(directory: Path, tracker: str, name: str) -> None:
    """Have a run that goes on be the same one for the tracker, too."""
    text = json.dumps({**_names(directory), tracker: name}, indent=2)
    (directory / NAMES).write_text(text + "\n", encoding="utf-8")


def _names(directory: Path) -> dict[str, Any]:
    path = directory / NAMES
    found = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return dict(found)


class Completions:
    """The rows that a run adds to its samples.jsonl from now on."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "samples.jsonl"
        self.place = self.path.stat().st_size if self.path.exists() else 0

    def new(self) -> list[dict[str, Any]]:
        """Those since the last call, made of numbers and texts alone."""
        if not self.path.exists():
            return []
        with self.path.open("rb") as file:
            file.seek(self.place)
            added = file.read()
        whole = added[: added.rfind(b"\n") + 1]
        self.place += len(whole)
        return [_plain(json.loads(line)) for line in whole.splitlines()]


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    return {
        name: json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else value
        for name, value in row.items()
    }
