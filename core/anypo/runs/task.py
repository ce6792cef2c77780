"""The task of a run: what there is to train on where no model or no data are named."""

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from anypo.data.mixture import Part, parts_of
from anypo.data.named import named_sets
from anypo.errors import PluginError, SaveError, one_line
from anypo.hooks import registry
from anypo.hooks.task import ChosenTask, Progress, load_task
from anypo.models.load import load_config
from anypo.runs.options import RunConfig
from anypo.sampling.load import load_environment
from anypo.support.cache import cache_directory
from anypo.support.saving import is_whole, whole_folder
from anypo.support.world import ALONE, World

FILES = ("model/config.json", "train.jsonl", "held_out.jsonl")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
MARK = "anypo_task"  # in the configuration of a task's model, and of what is trained from it


def choose_task(config: RunConfig) -> ChosenTask | None:
    """The task that a run is about; None if it has a model and data of its own.

    A model that was trained from a task's goes on with that one, unless another is named.

    Raises:
        PluginError: There is no such task, or it does not load.
    """
    mark = None if config.model is None else _mark_of(config.model, config.trust_remote_code)
    if config.model is not None and config.data is not None and mark is None:
        return None
    name = config.task
    if "task" not in config.model_fields_set:
        name = mark or _task_of_environment(config) or config.task
    entry, plugin = load_task(name)
    owns_model = config.model is None or mark == entry.shortest_name
    return ChosenTask(entry.shortest_name, plugin, owns_model)


def _task_of_environment(config: RunConfig) -> str:
    """What the environment of a run is for; nothing if it does not say."""
    return load_environment(config.environment).task if config.environment else ""


def sources(
    config: RunConfig, task: ChosenTask | None, progress: Progress, world: World = ALONE
) -> tuple[str, list[Part], dict[str, str]]:
    """The model of a run, its data and held-out sets by name: its task's where none are named.

    Raises:
        AnypoError: What is named makes no sense, or the task cannot be made.
    """
    model, parts = config.model, parts_of(config.data or [])
    held_out = named_sets(config.eval_data)
    if model is None or not parts:
        made = world.on_first(partial(ensure_task, task, progress))
        model = model or str(made / "model")
        if not parts:
            parts = [Part(str(made / "train.jsonl"))]
            held_out = held_out or {"": str(made / "held_out.jsonl")}
    return model, parts, held_out


def task_of(model: str, *, trusted: bool) -> ChosenTask | None:
    """The task from whose model a directory comes; None if it comes from none, or is elsewhere."""
    mark = _mark_of(model, trusted)
    return None if mark is None else ChosenTask(mark, load_task(mark)[1], owns_model=True)


def ensure_task(task: ChosenTask | None, progress: Progress) -> Path:
    """The folder of a task, with what `Task.make` writes; made now unless the cache holds it whole.

    Raises:
        ConfigError, SaveError: The cache cannot be written.
        PluginError: The task fails to make it, or makes a part of it.
    """
    assert task is not None, "what lacks a model or data has a task"
    cache, entry = cache_directory(), registry.find(task.name, "task")
    with entry.answerable():
        folder = cache / f"{task.name.replace(':', '.')}-{task.plugin.fingerprint()}"
    if is_whole(folder):
        return folder
    if folder.is_symlink() or folder.is_file():
        folder.unlink()
    try:
        with whole_folder(folder, ALONE) as made, entry.answerable(), _a_full_disk(folder):
            task.plugin.make(made, progress)
            if missing := [name for name in FILES if not (made / name).is_file()]:
                raise PluginError(f"{entry} is broken: it made no '{missing[0]}'")
            _mark(made / FILES[0], task.name)
    except SaveError:
        if not is_whole(folder):  # otherwise another run made the same meanwhile
            raise
    return folder


@contextmanager
def _a_full_disk(folder: Path) -> Iterator[None]:
    """Is not the task's fault, whatever library meets it."""
    try:
        yield
    except Exception as error:
        if any(os.strerror(number) in str(error) for number in FULL):
            raise SaveError(f"'{folder}' cannot be written: {one_line(error)}") from error
        raise


def _mark(file: Path, name: str) -> None:
    marked = {**json.loads(file.read_text(encoding="utf-8")), MARK: name}
    file.write_text(json.dumps(marked, indent=2), encoding="utf-8")


def _mark_of(model: str, trust_remote_code: bool) -> str | None:
    """The installed task from whose model a directory comes, if it does."""
    if not Path(model).is_dir():
        return None
    name = getattr(load_config(model, trust_remote_code=trust_remote_code), MARK, None)
    try:
        return name and registry.find(name, "task").shortest_name
    except PluginError:  # it is not installed any more: then it is a model like any other
        return None
