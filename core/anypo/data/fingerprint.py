"""What the tokens of a data set depend on, in a few letters."""

import hashlib
import importlib
import inspect
from collections.abc import Iterable, Iterator
from datetime import date
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import PreTrainedTokenizerBase

CODE = ("anypo.data", "anypo.hooks.batch")  # makes and holds them
LIBRARIES = ("transformers", "tokenizers", "datasets")


def fingerprint(
    files: Iterable[Path], tokenizer: PreTrainedTokenizerBase, settings: Iterable[Any]
) -> str:
    """Another text whenever files, the tokenizer, settings or the code that reads them are other.

    Args:
        files: That hold the rows.
        tokenizer: That reads them, with its chat template.
        settings: What else the tokens depend on.
    """
    digest = hashlib.sha256(repr([*settings, *_facts(tokenizer)]).encode())
    for file in [*files, *_code(tokenizer)]:
        digest.update(_of_file(file))
    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        for file in sorted(Path(folder).rglob("*")):
            if file.is_file():
                digest.update(file.name.encode() + _of_file(file))
    return digest.hexdigest()[:16]


def _facts(tokenizer: PreTrainedTokenizerBase) -> Iterator[Any]:
    yield [version(library) for library in LIBRARIES]
    if "strftime_now" in str(tokenizer.chat_template):  # some tell the model what day it is
        yield date.today().isoformat()


def _code(tokenizer: PreTrainedTokenizerBase) -> Iterator[Path]:
    for name in CODE:
        path = Path(str(importlib.import_module(name).__file__))
        yield from sorted(path.parent.glob("*.py")) if path.stem == "__init__" else [path]
    yield Path(inspect.getfile(type(tokenizer)))  # a model may bring its own


def _of_file(file: Path) -> bytes:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").digest()
