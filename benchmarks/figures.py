"""The figures that the pages show: kept as JSON, of which cog makes the tables."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock

FOLDER = Path(__file__).parents[1] / "docs" / "figures"
Row = dict[str, Any]


def keep(page: str, row: Row, *key: str) -> None:
    """Keep a row in place of the one that agrees with it in the fields of the key."""
    with FileLock(Path(tempfile.gettempdir(), f"anypo-figures-{page}.lock")):  # several shards
        others = [o for o in kept(page) if any(o.get(field) != row[field] for field in key)]
        ordered = sorted([*others, row], key=lambda r: [_sortable(r.get(field)) for field in key])
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in ordered)
        (FOLDER / f"{page}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def kept(page: str) -> list[Row]:
    """The rows of a page; none where nothing was run yet."""
    file = FOLDER / f"{page}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else []


def _sortable(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict) else value
