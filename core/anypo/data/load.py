"""Read data sets."""

import json
from pathlib import Path
from typing import Any

from anypo.data.formats import Columns, Row, numbered
from anypo.errors import DataError, one_line

LOADERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}


def load_rows(name: str) -> list[Row]:
    """The rows of a file (JSONL, Parquet, CSV), a directory, or a hub name.

    The latter is `NAME`, `NAME:SPLIT` or `NAME:CONFIG:SPLIT`; the split is `train` if not given.

    Raises:
        DataError: It does not exist, is empty, or a line of it is malformed.
    """
    try:
        table = _table(name)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"data set '{name}' does not load: {_cause(error)}") from error
    rows = numbered(table)
    if not rows:
        raise DataError(f"data set '{name}' is empty")
    return rows


def _table(name: str) -> Any:
    path = Path(name)
    if path.suffix == ".jsonl" and path.is_file():
        return _read_jsonl(path)
    import datasets  # takes a second, which nobody else should wait

    datasets.disable_progress_bars()
    if path.is_file():
        if path.suffix not in LOADERS:
            raise DataError(f"'{path}' is none of {', '.join(LOADERS)}")
        return datasets.load_dataset(LOADERS[path.suffix], data_files=str(path), split="train")
    if path.is_dir() and (path / "state.json").exists():
        return datasets.load_from_disk(name)
    if path.is_dir():
        return datasets.load_dataset(name, split="train")
    if path.suffix in LOADERS or name.startswith((".", "/", "~")):
        raise DataError(f"there is no file '{name}'")
    repository, *rest = name.split(":")
    split = rest.pop() if rest else "train"
    return datasets.load_dataset(repository, *rest, split=split)


def _read_jsonl(path: Path) -> list[Columns]:
    # Not through `datasets`: it gives no line number, and fills the keys a row lacks with None.
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


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return one_line(f"{type(error).__name__}: {error}")
