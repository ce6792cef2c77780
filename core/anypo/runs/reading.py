"""Read what a run has left, or has written so far."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anypo.errors import ConfigError, DataError, told
from anypo.runs.layout import CONFIG, LOCK, METRICS, SAMPLES
from anypo.runs.recipe import read_recipe

if TYPE_CHECKING:
    import pandas


class Metrics(list[dict[str, Any]]):
    """One dictionary per step, in order: `step`, and whatever was measured."""

    def frame(self) -> pandas.DataFrame:
        """The same as a pandas frame: a row per step, a column per metric, NaN where there is none.

        Raises:
            ConfigError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise ConfigError("a frame needs pandas: pip install pandas") from error
        return pandas.DataFrame(list(self)).set_index("step") if self else pandas.DataFrame()


@dataclass(frozen=True)
class RunRecord:
    """What a run directory holds. Metrics and samples are read when they are first asked for.

    Attributes:
        path: Of the directory.
        config: What config.toml says: `algorithm`, the run options, and the tables `knobs` and
            `hooks`.
        lock: What plugins.lock.json says; empty where there is none.
    """

    path: Path
    config: dict[str, Any]
    lock: dict[str, Any]

    @cached_property
    def metrics(self) -> Metrics:
        """What was measured, step by step; step 0 is the evaluation before training.

        Raises:
            DataError: The file is damaged.
        """
        return Metrics(_rows(self.path / METRICS))

    @cached_property
    def samples(self) -> list[dict[str, Any]]:
        """Completions with `step`, `phase` ("train" or "eval"), `prompt`, `reward` and `scores`.

        Raises:
            DataError: The file is damaged.
        """
        return [{"phase": "train", **row} for row in _rows(self.path / SAMPLES)]


def read_run(directory: str | Path) -> RunRecord:
    """Read a run directory, of a run that is done, was ended, or goes on still.

        run = read_run("runs/grpo-20260102-030405")
        run.metrics[-1]["eval/score"]
        run.metrics.frame()["reward/mean"].plot()

    Args:
        directory: Of the run.

    Raises:
        ConfigError: It holds no run.
        DataError: A file of it is damaged.
    """
    if not isinstance(directory, str | Path):
        raise ConfigError(f"read_run takes the path of a run directory, not {directory!r:.60}")
    path = Path(directory)
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        raise ConfigError(f"'{path}' is no run directory: it {what}")
    if not (path / CONFIG).is_file():
        raise ConfigError(f"'{path}' is no run directory: it has no {CONFIG}")
    recipe = read_recipe(str(path / CONFIG))
    if not recipe.algorithm:
        raise ConfigError(f"'{path}' holds no run: it ended before it had begun")
    tables = {"knobs": recipe.knobs, "hooks": recipe.hooks}
    return RunRecord(path, {"algorithm": recipe.algorithm, **recipe.options, **tables}, _lock(path))


def _lock(path: Path) -> dict[str, Any]:
    try:
        lock = json.loads((path / LOCK).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise DataError(f"'{path / LOCK}' cannot be read: {error}") from error
    if not isinstance(lock, dict):
        raise DataError(f"'{path / LOCK}' cannot be read: it holds no object")
    return lock


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file; a last line that is still being written, or is torn, is left out."""
    try:
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if number == len(lines) and not line.endswith(b"\n"):
            return
        try:
            row = json.loads(line)
            int(row["step"])
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(f"'{path}', line {number}, is damaged: {told(error)}") from error
        yield row
