"""The task of a run: what there is to train on where no model or no data are named."""

import hashlib
import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

from anypo.errors import PluginError
from anypo.hooks import registry
from anypo.hooks.task import ChosenTask, Progress, load_task
from anypo.models.load import load_config
from anypo.runs.options import RunConfig
from anypo.support.cache import cache_directory, writing

FILES = ("model/config.json", "train.jsonl", "held_out.jsonl")
SEAL = "sha256"  # beside them: of all files together
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
    name = mark if mark and "task" not in config.model_fields_set else config.task
    entry, plugin = load_task(name)
    owns_model = config.model is None or mark == entry.shortest_name
    return ChosenTask(entry.shortest_name, plugin, owns_model)


def ensure_task(task: ChosenTask | None, progress: Progress) -> Path:
    """The folder of a task, with what `Task.make` writes; made now unless the cache holds it whole.

    Raises:
        ConfigError: The cache cannot be written.
        PluginError: The task fails to make it, or makes a part of it.
    """
    assert task is not None, "what lacks a model or data has a task"
    cache, entry = cache_directory(), registry.find(task.name, "task")
    with entry.answerable():
        folder = cache / f"{task.name.replace(':', '.')}-{task.plugin.fingerprint()}"
    if _is_whole(folder):
        return folder
    with TemporaryDirectory(prefix=".made-", dir=cache, ignore_cleanup_errors=True) as space:
        made = Path(space, "made")
        with entry.answerable(), writing(cache):
            made.mkdir()
            task.plugin.make(made, progress)
        if missing := [name for name in FILES if not (made / name).is_file()]:
            raise PluginError(f"{entry} is broken: it made no '{missing[0]}'")
        with writing(cache):
            _mark(made / FILES[0], task.name)
            (made / SEAL).write_text(_digest(made), encoding="utf-8")
            _put(made, folder)
    return folder


def _put(made: Path, folder: Path) -> None:
    """Move a folder to its place, unless another run has put the same there meanwhile."""
    if os.path.lexists(folder) and not _is_whole(folder):
        folder.rename(made.with_name("damaged"))
    try:
        made.rename(folder)
    except OSError:
        if not _is_whole(folder):
            raise


def _is_whole(folder: Path) -> bool:
    try:
        return (folder / SEAL).read_bytes() == _digest(folder).encode()
    except OSError:
        return False


def _digest(folder: Path) -> str:
    """Of the names and contents of all files."""
    whole = hashlib.sha256()
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.name != SEAL:
            with file.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            whole.update(f"{file.relative_to(folder)} {digest}\n".encode())
    return whole.hexdigest()


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
