"""Read the files of which `datasets` would not give what they hold.

Of JSONL it gives no line numbers, and fills keys that a row lacks with None. In a CSV with a blank
it makes fractions of integers, and takes words such as NA for blanks.
"""

import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from anypo.data.formats import Columns
from anypo.errors import DataError

LONGEST_CELL = 2**31 - 1  # characters
INTEGER = r"-?(0|[1-9]\d*)"
NUMBER = rf"({INTEGER}(\.\d+)?|-?\.\d+)([eE][+-]?\d+)?"
TRUTH = "(?i)true|false"


def read_jsonl(path: Path) -> list[Columns]:
    """The rows of a file that has one in every line that is not blank.

    Raises:
        DataError: A line, which is named, is no JSON object.
    """
    rows = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: a row is an object, not {line.strip()[:40]}")
            rows.append(row)
    return rows


def read_csv(path: Path) -> list[Columns]:
    """The rows of a table whose first line names the columns.

    A blank cell is None. A column of nothing but numbers holds numbers, of which integers stay
    integers; one of nothing but true and false holds booleans; any other holds texts.

    Raises:
        DataError: It is no table: a line, which is named, has not as many cells as the first.
    """
    header, *rows = _cells(path) or [[]]
    if len(set(header)) < len(header):
        raise DataError(f"{path}:1: two columns have the same name")
    columns = [_read_column(column) for column in zip(*rows, strict=True)]
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


def _read_column(cells: Sequence[str]) -> list[Any]:
    def all_are(pattern: str) -> bool:
        return all(re.fullmatch(pattern, cell) for cell in cells if cell)

    read: Callable[[str], Any] = _number if all_are(NUMBER) else _truth if all_are(TRUTH) else str
    return [read(cell) if cell else None for cell in cells]


def _number(cell: str) -> int | float:
    return int(cell) if re.fullmatch(INTEGER, cell) else float(cell)


def _truth(cell: str) -> bool:
    return cell.lower() == "true"
