"""Rows that are given as objects, written down, so that a run with them can be repeated."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from anypo.data.load import without_fillers
from anypo.support.cache import cache_directory
from anypo.support.saving import UNFINISHED


def written(rows: Iterable[Any]) -> str:
    """The file that holds rows; the same for the same rows.

    Args:
        rows: Mappings from columns to values, such as a `datasets.Dataset` has.

    Raises:
        ValueError: There is none, or one is no mapping or holds what JSON cannot say.
        ConfigError: The cache cannot be written.
    """
    cache, digest = cache_directory(), hashlib.sha256()
    descriptor, name = tempfile.mkstemp(prefix=UNFINISHED, dir=cache)
    made = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for line in _lines(rows):
                digest.update(line)
                file.write(line)
        if not made.stat().st_size:
            raise ValueError("a data set without rows is given")
        path = cache / f"rows-{digest.hexdigest()[:16]}.jsonl"
        made.replace(path)
    finally:
        made.unlink(missing_ok=True)
    return str(path)


def _lines(rows: Iterable[Any]) -> Iterator[bytes]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise ValueError(
                f"row {number} of a {type(rows).__name__} is {row!r:.60}: give a file, a hub name, "
                "or rows that are dictionaries, as those of a datasets.Dataset"
            )
        try:
            text = json.dumps(
                without_fillers(dict(row)), ensure_ascii=False, allow_nan=False, default=_plain
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"row {number} holds what JSON cannot say: {error}") from error
        yield text.encode("utf-8", "surrogatepass") + b"\n"


def _plain(value: Any) -> Any:
    """A number of NumPy as one of Python; nothing else is meant by it."""
    if not isinstance(value, np.generic):
        raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")
    return value.item()
