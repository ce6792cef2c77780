"""Tokenised prompts in the cache, from where each is read when it is asked for.

A folder holds them one after the other as pickles, of which nothing is read but data; where each
ends, and of which row it is; and the tally of the rows.
"""

import io
import json
import os
import pickle
import weakref
from array import array
from collections.abc import Callable, Iterable
from dataclasses import asdict
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from anypo.data.found import PromptSet
from anypo.data.tally import Tally
from anypo.errors import DataError
from anypo.hooks.batch import Completion, Prompt
from anypo.support.cache import cache_directory
from anypo.support.lazy import Lazy
from anypo.support.saving import is_whole, whole_folder, writing
from anypo.support.world import ALONE

PROMPTS, INDEX, TALLY = "prompts", "index.npy", "tally.json"
DATA = {Prompt, Completion, date, datetime, time, timedelta, timezone, Decimal, bytearray, complex}
NAMED = {(kind.__module__, kind.__qualname__): kind for kind in DATA}

Read = Callable[[Tally], Iterable[tuple[int, Prompt]]]


def kept(name: str, key: str, read: Read) -> PromptSet:
    """The prompts of a data set; read now, unless the cache holds what was read under this key.

    Of several runs at once, one reads and the others wait.

    Args:
        name: Of the data set.
        key: Is another one whenever something else would be read.
        read: Gives the prompts with the numbers of their rows, and tells a tally of them.

    Raises:
        ConfigError, SaveError: The cache cannot be written.
        DataError: A row holds what cannot be kept.
    """
    folder = cache_directory() / f"tokens-{key}"
    with FileLock(folder.with_suffix(".lock")):
        if not is_whole(folder):
            with whole_folder(folder, ALONE) as made:
                _write(made, read)
    told = json.loads((folder / TALLY).read_text(encoding="utf-8"))
    ends, numbers = np.load(folder / INDEX)
    return PromptSet(name, KeptPrompts(folder / PROMPTS, ends), numbers, Tally.read(told))


class KeptPrompts(Lazy[Prompt]):
    """The prompts in a file.

    They are read and not mapped into memory, where they would count as the run's.
    """

    def __init__(self, file: Path, ends: Any) -> None:
        self.ends = ends
        self.file = os.open(file, os.O_RDONLY)
        weakref.finalize(self, os.close, self.file)

    def __len__(self) -> int:
        return len(self.ends)

    def at(self, place: int) -> Prompt:
        """See `Lazy`."""
        start = int(self.ends[place - 1]) if place else 0
        prompt = OnlyData(io.BytesIO(os.pread(self.file, int(self.ends[place]) - start, start)))
        return prompt.load()  # type: ignore[no-any-return]


class OnlyData(pickle.Unpickler):
    """Reads what holds nothing but data."""

    def find_class(self, module: str, name: str) -> Any:
        """The few that may occur."""
        return NAMED[module, name]


class DataPickler(pickle.Pickler):
    """Writes what `OnlyData` reads."""

    def reducer_override(self, value: Any) -> Any:
        """Refuse anything else."""
        kind = value if isinstance(value, type) else type(value)
        if kind not in DATA:
            raise DataError(f"holds a {kind.__name__}, which cannot be kept: leave it out")
        return NotImplemented


def _write(folder: Path, read: Read) -> None:
    tally, ends, numbers = Tally(), array("q"), array("q")
    try:
        with (folder / PROMPTS).open("wb") as file:
            for number, prompt in read(tally):
                file.write(_pickled(number, prompt))
                ends.append(file.tell())
                numbers.append(number)
        np.save(folder / INDEX, np.array([ends, numbers], dtype=np.int64))
        (folder / TALLY).write_text(json.dumps(asdict(tally)), encoding="utf-8")
    except OSError as error:  # where rows cannot be read, it is another one
        with writing(folder):
            raise error


def _pickled(number: int, prompt: Prompt) -> bytes:
    stream = io.BytesIO()
    try:
        DataPickler(stream, pickle.HIGHEST_PROTOCOL).dump(prompt)
    except DataError as error:
        raise DataError(f"row {number}: a column {error}") from error
    return stream.getvalue()
