"""Read data sets."""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from anypo.data.files import JSONLines, read_csv
from anypo.data.formats import CONVERSATIONS, Columns, Rows
from anypo.errors import DataError, told
from anypo.support.foreign import foreign

READERS: dict[str, Callable[[Path], Iterable[Columns]]] = {".jsonl": JSONLines, ".csv": read_csv}
LOADERS = {".json": "json", ".parquet": "parquet"}
SAVED = "state.json"  # what `save_to_disk` leaves
TEMPLATE_OPTIONS = {"tools", "chat_template_kwargs"}
AT_ONCE = 1000  # rows


def load_rows(name: str) -> Rows:
    """The rows of a file (JSONL, Parquet, CSV), a directory, or a hub name.

    The latter is `NAME`, `NAME:SPLIT` or `NAME:CONFIG:SPLIT`; the split is `train` if not given.
    Of a CSV all rows are held in memory, and of the others a few at a time.

    Raises:
        DataError: It does not exist, or is empty. Going through the rows raises it, too, where one
            is malformed.
    """
    lack = "" if Path(name).exists() else "there is no such file or directory, and of the hub: "
    does_not = f"data set '{name}' does not load: {lack}"

    def explain(error: BaseException) -> DataError:
        return DataError(does_not + _cause(error))

    with foreign(explain):
        source, files = _opened(name)
    rows = Rows(name, Explained(source, explain), files)
    if next(iter(rows), None) is None:
        raise DataError(f"data set '{name}' is empty")
    return rows


@dataclass(frozen=True)
class Explained:
    """Rows that may turn out to be malformed only when they are read."""

    source: Iterable[Columns]
    explain: Callable[[BaseException], DataError]

    def __iter__(self) -> Iterator[Columns]:
        rows = iter(self.source)
        while True:
            with foreign(self.explain):
                some = list(islice(rows, AT_ONCE))
            if not some:
                return
            yield from some


@dataclass(frozen=True)
class TableRows:
    """The rows of a table of `datasets`, which stays on the disk."""

    table: Any

    def __iter__(self) -> Iterator[Columns]:
        return map(without_fillers, self.table)


def _opened(name: str) -> tuple[Iterable[Columns], list[Path]]:
    """The rows of a data set, and the files that hold them."""
    path = Path(name)
    if path.suffix in READERS and path.is_file():
        return READERS[path.suffix](path), [path]
    table = _table(name, path)
    return TableRows(table), [Path(file["filename"]) for file in table.cache_files]


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


def without_fillers(row: Columns) -> Columns:
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
