"""Files of one JSON object per line, to which a run adds as it goes."""

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anypo.support.saving import to_disk, writing


class Lines:
    """Such a file. No line of it is ever half written, but by a process that is killed."""

    def __init__(self, path: Path) -> None:
        self.path, self.waiting = path, b""

    def add(self, row: Mapping[str, Any]) -> None:
        """Have it written by the next `flush`."""
        self.waiting += json.dumps(row, ensure_ascii=False, default=str).encode() + b"\n"

    def flush(self) -> None:
        """Write what is waiting.

        Raises:
            SaveError: It cannot be written, and waits for the next time.
        """
        if self.waiting:
            with writing(self.path):
                _append(self.path, self.waiting)
            self.waiting = b""

    def settle(self) -> None:
        """Have what is written survive a loss of power."""
        if self.path.exists():
            with writing(self.path):
                to_disk(self.path)

    def cut(self, step: int) -> None:
        """Leave out what follows a step, a line that a killed process left torn included."""
        if not self.path.exists():
            return
        kept = 0
        for line in self.path.read_bytes().splitlines(keepends=True):
            if _step_of(line) > step:
                break
            kept += len(line)
        with writing(self.path):
            os.truncate(self.path, kept)


def _step_of(line: bytes) -> float:
    """Of a torn line, one after all others."""
    try:
        return int(json.loads(line)["step"]) if line.endswith(b"\n") else math.inf
    except (ValueError, KeyError):
        return math.inf


def _append(path: Path, data: bytes) -> None:
    with path.open("ab", buffering=0) as file:
        start = file.seek(0, os.SEEK_END)
        try:
            while data:
                data = data[file.write(data) :]
        except BaseException:
            file.truncate(start)
            raise
