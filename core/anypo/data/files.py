"""Read the files of which `datasets` would not give what they hold.

Of JSONL it gives no line numbers, and fills keys that a row lacks with None. In a CSV with a blank
it makes fractions of integers, and takes words such as NA for blanks.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any

from anypo.data.formats import Columns
from anypo.errors import DataError

LONGEST_CELL = 2**31 - 1  # characters


@dataclass(frozen=True)
class JSONLines:
    """The rows of a file that has one in every line that is not blank, read anew each time.

    Going through them raises DataError, if a line, which is named, is no JSON object.
    """

    path: Path

    def __iter__(self) -> Iterator[Columns]:
        with self.path.open(encoding="utf-8-sig") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield self._read(number, line)

    def _read(self, number: int, line: str) -> Columns:
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{self.path}:{number}: not JSON: {error}") from error
        if not isinstance(row, dict):
            raise DataError(f"{self.path}:{number}: a row is an object, not {line.strip()[:40]}")
        return row


def read_csv(path: Path) -> list[Columns]:
    """The rows of a table whose first line names the columns.

    A blank cell is None. A column holds numbers where each of them, written again, is what the
    cell says (18.90 is not 18.9), and texts otherwise; `prompt`, `completion`, `chosen`, `rejected`
    and `text` are always texts. `label` may hold true and false, and `margin` any numbers.

    Raises:
        DataError: It is no table: a line, which is named, has not as many cells as the first.
    """
    header, *rows = _cells(path) or [[]]
    if len(set(header)) < len(header):
        raise DataError(f"{path}:1: two columns have the same name")
    columns = list(map(_read_column, header, zip(*rows, strict=True)))
    return [dict(zip(header, row, strict=True)) for row in zip(*columns, strict=True)]


def _cells(path: Path) -> list[list[str]]:
    csv.field_size_limit(LONGEST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines, strict=True)
        try:
            rows = [(reader.line_num, row) for row in reader if row]
        except csv.Error as error:
            raise DataError(f"{path}:{reader.line_num}: {error}") from error
    for number, row in rows:
        if len(row) != len(rows[0][1]):
            raise DataError(f"{path}:{number}: {len(row)} cells, but {len(rows[0][1])} columns")
    return [row for _, row in rows]


def _read_column(name: str, cells: Sequence[str]) -> list[Any]:
    for read in READERS.get(name, (_number,)):
        try:
            return [read(cell) if cell else None for cell in cells]
        except ValueError:
            continue
    return [cell or None for cell in cells]


def _number(cell: str) -> int | float:
    for kind in (int, float):
        with suppress(ValueError):
            if str(number := kind(cell)) == cell and isfinite(number):
                return number
    raise ValueError(cell)


def _truth(cell: str) -> bool:
    if cell.lower() not in ("true", "false"):
        raise ValueError(cell)
    return cell.lower() == "true"


READERS: dict[str, tuple[Callable[[str], Any], ...]] = {
    "label": (_number, _truth),
    "margin": (float,),
    **dict.fromkeys(("prompt", "completion", "chosen", "rejected", "text"), ()),
}
