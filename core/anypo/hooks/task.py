"""What a task is: something to train on where no data are named."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from anypo.errors import PluginError
from anypo.hooks import registry

Progress = Callable[[int, int], None]  # is told steps done and steps in all


class Task(Protocol):
    """A data set with a model that can half do it, made on the spot and kept in the cache.

    What an algorithm prefers on a task stands in the algorithm's plugin, under the task's name.
    """

    reward: Sequence[str]  # what scores completions, as the option `reward` names it
    options: Mapping[str, Any]  # run options that suit its model, where nothing is set
    knobs: Mapping[str, Any]  # and knobs

    def fingerprint(self) -> str:
        """Changes whenever what `make` makes does, so that the cache is never stale."""

    def make(self, folder: Path, progress: Progress) -> None:
        """Write a model directory `model`, and the rows `train.jsonl` and `held_out.jsonl`.

        The same in every run, so that runs can be compared: the seed of a run is none of its own.
        """


@dataclass(frozen=True)
class ChosenTask:
    """The task of a run."""

    name: str
    plugin: Task
    owns_model: bool  # whether the model of the run is its own, or was trained from it


def load_task(name: str) -> tuple[registry.Entry, Task]:
    """The task of a name, or of `DISTRIBUTION:NAME`.

    Raises:
        PluginError: There is none, or it does not load, or it is no whole task.
    """
    entry = registry.find(name, "task")
    task: Task = entry.make()
    members = (*inspect.get_annotations(Task), "fingerprint", "make")
    if missing := [member for member in members if not hasattr(task, member)]:
        raise PluginError(f"{entry} is no anypo.Task: it lacks '{missing[0]}'")
    return entry, task
