"""Folders and files that are there whole or not at all, whatever ends the process that writes them.

They are written under another name beside the one that is wanted, forced to the disk and renamed.
"""

import errno
import hashlib
import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anypo.errors import SaveError, one_line
from anypo.support.world import World

MANIFEST = "MANIFEST.json"  # of a folder: what was said of it, and the files with size and SHA-256
UNFINISHED, DISCARDED = ".tmp-", ".trash-"

Tell = Callable[[str], None]


@contextmanager
def whole_folder(folder: Path, world: World, **facts: Any) -> Iterator[Path]:
    """A folder to write to, which becomes `folder` when the block is done, in place of any other.

    All processes run the block, and in it the first one alone writes.

    Args:
        folder: What it becomes.
        world: The processes.
        facts: What its manifest says beside the files.

    Raises:
        SaveError: It cannot be written; then whatever was there before still is.
    """
    made = _beside(folder, UNFINISHED)
    write_on_first(world, folder, lambda: made.mkdir(parents=True))
    try:
        yield made
        write_on_first(world, folder, lambda: _settle(made, folder, facts))
    except SaveError as error:
        raise SaveError(str(error).replace(str(made), str(folder))) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)  # it is not there any more, if all went well


def write_on_first(world: World, what: Path, action: Callable[[], object]) -> None:
    """Have the first process write something; if it cannot, all raise SaveError."""

    def write() -> None:
        with writing(what):
            action()

    world.on_first(write)


@contextmanager
def writing(what: Path) -> Iterator[None]:
    """Turn whatever goes wrong in writing something into one sentence that names it."""
    try:
        yield
    except SaveError:
        raise
    except Exception as error:  # safetensors and transformers have errors of their own
        told = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise SaveError(f"'{what}' cannot be written: {one_line(told)}") from error


def write_file(path: Path, text: str) -> None:
    """Write a small file; until it is whole, whatever was there before stays.

    Raises:
        SaveError: It cannot be written.
    """
    made = _beside(path, UNFINISHED)
    with writing(path):
        try:
            made.write_text(text, encoding="utf-8")
            to_disk(made)
            made.replace(path)
            to_disk(path.parent)
        finally:
            made.unlink(missing_ok=True)


def remove(folder: Path) -> None:
    """Delete a folder that nobody may find half of."""
    if folder.exists():
        discarded = _beside(folder, DISCARDED)
        folder.rename(discarded)
        shutil.rmtree(discarded, ignore_errors=True)


def sweep(parent: Path) -> None:
    """Delete what processes left in a folder that were killed while they wrote or deleted."""
    for prefix in (UNFINISHED, DISCARDED):
        for left in parent.glob(f"{prefix}*"):
            if left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def manifest_of(folder: Path) -> dict[str, Any]:
    """What the manifest of a folder says, if every file is still what it says.

    Raises:
        SaveError: A file is missing or another one, or there is no manifest.
    """
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        for name, listed in manifest["files"].items():
            if _described(folder / name) != listed:
                raise SaveError(f"'{folder}' is damaged: '{name}' is not what was saved")
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise SaveError(f"'{folder}' is damaged or incomplete: {one_line(error)}") from error
    return manifest


def is_whole(folder: Path) -> bool:
    """Whether it is there, and what was saved."""
    try:
        return bool(manifest_of(folder))
    except SaveError:
        return False


def newest_whole(parent: Path, tell: Tell) -> Path | None:
    """The last folder, by its name, that is what was saved; what comes after it is told of."""
    for folder in sorted(parent.glob("[!.]*"), reverse=True):
        try:
            manifest_of(folder)
        except SaveError as error:
            tell(f"{error}; it is not used")
        else:
            return folder
    return None


def to_disk(path: Path) -> None:
    """Have a file or folder survive a loss of power."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # not all file systems know folders
            raise
    finally:
        os.close(opened)


def _beside(path: Path, prefix: str) -> Path:
    return path.with_name(f"{prefix}{path.name}-{uuid.uuid4().hex[:8]}")


def _settle(made: Path, folder: Path, facts: dict[str, Any]) -> None:
    names = sorted(path.relative_to(made) for path in made.rglob("*") if path.is_file())
    files = {name.as_posix(): _described(made / name) for name in names}
    text = json.dumps({**facts, "files": files}, indent=1)
    (made / MANIFEST).write_text(text + "\n", encoding="utf-8")
    for path in (*made.rglob("*"), made):
        to_disk(path)
    before = _beside(folder, DISCARDED)
    if folder.exists():
        folder.rename(before)
    made.rename(folder)
    to_disk(folder.parent)
    shutil.rmtree(before, ignore_errors=True)


def _described(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {
            "size": path.stat().st_size,
            "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        }
