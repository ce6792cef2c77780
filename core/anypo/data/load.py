"""Read data sets."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from anypo.data.files import read_csv, read_jsonl
from anypo.data.formats import CONVERSATIONS, Columns, Row, numbered
from anypo.errors import DataError, told
from anypo.support.foreign import foreign

READERS = {".jsonl": read_jsonl, ".csv": read_csv}
LOADERS = {".json": "json", ".parquet": "parquet"}
SAVED = "state.json"  # what `save_to_disk` leaves
TEMPLATE_OPTIONS = {"tools", "chat_template_kwargs"}


def load_rows(name: str) -> list[Row]:
    """The rows of a file (JSONL, Parquet, CSV), a directory, or a hub name.

    The latter is `NAME`, `NAME:SPLIT` or `NAME:CONFIG:SPLIT`; the split is `train` if not given.

    Raises:
        DataError: It does not exist, is empty, or a line of it is malformed.
    """
    lack = "" if Path(name).exists() else "there is no such file or directory, and of the hub: "
    does_not = f"data set '{name}' does not load: {lack}"
    with foreign(lambda error: DataError(does_not + _cause(error))):
        rows = numbered(_columns(name))
    if not rows:
        raise DataError(f"data set '{name}' is empty")
    return rows


def _columns(name: str) -> Iterable[Columns]:
    path = Path(name)
    if path.suffix in READERS and path.is_file():
        return READERS[path.suffix](path)
    return map(_without_fillers, _table(name, path))


def _table(name: str, path: Path) -> Any:
    import datasets  # takes a second, which nobody else should wait

    datasets.disable_progress_bars()
    if path.is_file():
        if path.suffix not in LOADERS:
            raise DataError(f"'{path}' is none of {', '.join([*READERS, *LOADERS])}")
        return datasets.load_dataset(LOADERS[path.suffix], data_files=str(path), split="train")
    if path.is_dir() and (path / SAVED).exists():
        return datasets.load_from_disk(name)
    if path.is_dir():
        _check_none_is_left_out(name, path)
        return datasets.load_dataset(name, split="train")
    if path.suffix in READERS | LOADERS or name.startswith((".", "/", "~")):
        raise DataError(f"there is no file '{name}'")
    repository, *rest = name.split(":")
    split = rest.pop() if rest else "train"
    return datasets.load_dataset(repository, *rest, split=split)


def _check_none_is_left_out(name: str, folder: Path) -> None:
    """Of a directory `datasets` reads one format, and where names tell of splits, those alone."""
    from datasets import load_dataset_builder
    from datasets.data_files import FILES_TO_IGNORE

    splits = load_dataset_builder(name).config.data_files.values()
    read = {Path(file) for files in splits for file in files}
    left = [
        file
        for file in sorted(folder.resolve().rglob("*"))
        if file not in read
        and file.name not in {*FILES_TO_IGNORE, SAVED}
        and not {*file.suffixes}.isdisjoint({*READERS, *LOADERS})
        and not str(file.relative_to(folder.resolve())).startswith((".", "__"))
    ]
    if left:
        raise DataError(
            f"data set '{name}' would be read without {len(left)} of its files, such as "
            f"'{left[0].relative_to(folder.resolve())}': name one file, or have files of one "
            "format in the directory, all or none of them named after splits"
        )


def _without_fillers(row: Columns) -> Columns:
    """A row without the nulls that Arrow puts where an object lacks keys that others have.

    Only in what a chat template is given, which would render them: a null there is none of a user.
    """
    messages = {c: _lacking(row[c], keep={"content"}) for c in CONVERSATIONS & row.keys()}
    return row | messages | {c: _lacking(row[c]) for c in TEMPLATE_OPTIONS & row.keys()}


def _lacking(value: Any, keep: Collection[str] = ()) -> Any:
    """A value whose objects lack their nulls, but for those of outer objects to keep."""
    if isinstance(value, list):
        return [_lacking(item, keep) for item in value]
    if isinstance(value, dict):
        return {k: _lacking(v) for k, v in value.items() if v is not None or k in keep}
    return value


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return told(error)
