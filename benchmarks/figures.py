"""The figures that the pages show: kept as JSON, of which cog makes the tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "docs" / "figures"
Row = dict[str, Any]


def keep(page: str, row: Row, *key: str) -> None:
    """Keep a row in place of the one that agrees with it in the fields of the key."""
    file = FOLDER / f"{page}.json"
    rows: list[Row] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    others = [other for other in rows if any(other.get(field) != row[field] for field in key)]
    ordered = sorted([*others, row], key=lambda row: [_sortable(row.get(field)) for field in key])
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in ordered)
    file.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def _sortable(value: Any) -> Any:
    return json.dumps(value) if isinstance(value, dict) else value
