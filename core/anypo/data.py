"""Read data sets of prompts, in TRL's formats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from transformers import PreTrainedTokenizerBase

from anypo.batch import Prompt
from anypo.errors import DataError

LOADERS = {".jsonl": "json", ".json": "json", ".parquet": "parquet", ".csv": "csv"}

Row = dict[str, Any]


def load_rows(name: str) -> list[Row]:
    """The rows of a file (JSONL, Parquet, CSV), a directory, or a hub name.

    Args:
        name: A path, or `NAME`, `NAME:SPLIT` or `NAME:CONFIG:SPLIT` of the hub; the split is
            `train` if not given.

    Raises:
        DataError: It does not exist, is empty, or a line of it is malformed.
    """
    import datasets  # takes a second to import, and only a run needs it

    datasets.disable_progress_bars()
    path = Path(name)
    try:
        if path.is_file():
            table = _load_file(path, datasets)
        elif path.is_dir() and (path / "state.json").exists():
            table = datasets.load_from_disk(name)
        elif path.is_dir():
            table = datasets.load_dataset(name, split="train")
        elif path.suffix in LOADERS or name.startswith((".", "/", "~")):
            raise DataError(f"there is no file '{name}'")
        else:
            table = _load_hub(name, datasets)
    except (DataError, KeyboardInterrupt):
        raise
    except Exception as error:
        raise DataError(f"data set '{name}' does not load: {_cause(error)}") from error
    rows = list(table)
    if not rows:
        raise DataError(f"data set '{name}' is empty")
    return rows


def to_prompts(
    name: str, rows: Sequence[Row], tokenizer: PreTrainedTokenizerBase, *, max_prompt_length: int
) -> list[Prompt]:
    """The tokenised prompts of the rows of a data set, each with its other columns.

    A prompt is a string, or a list of messages that goes through the tokenizer's chat template.

    Args:
        name: What to call the data set in an error.
        rows: See `load_rows`.
        tokenizer: Of the model that will complete the prompts.
        max_prompt_length: In tokens; a longer prompt is an error, never cut in silence.

    Raises:
        DataError: There is no column `prompt`, or a row of it is unusable.
    """
    if "prompt" not in rows[0]:
        raise DataError(f"data set '{name}' has no column 'prompt', only {', '.join(rows[0])}")
    prompts = [_prompt(f"row {i} of '{name}'", row, tokenizer) for i, row in enumerate(rows, 1)]
    for i, prompt in enumerate(prompts, 1):
        if len(prompt.ids) > max_prompt_length:
            raise DataError(
                f"row {i} of '{name}': the prompt has {len(prompt.ids)} tokens, the limit is "
                f"{max_prompt_length}; shorten it, or raise max_prompt_length if the model attends "
                "to more"
            )
    return prompts


class PromptStream:
    """Prompts without end, shuffled anew each time all have been drawn.

    The order is a function of the seed and of how many were drawn, so nothing else needs saving.
    """

    def __init__(self, prompts: Sequence[Prompt], seed: int) -> None:
        self.prompts = prompts
        self.seed = seed
        self.drawn = 0
        self._epoch, self._order = -1, list[int]()

    def draw(self, n: int) -> list[Prompt]:
        """The next `n` prompts."""
        drawn = [self._at(i) for i in range(self.drawn, self.drawn + n)]
        self.drawn += n
        return drawn

    def _at(self, i: int) -> Prompt:
        epoch, position = divmod(i, len(self.prompts))
        if epoch != self._epoch:
            random = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = torch.randperm(len(self.prompts), generator=random).tolist()
            self._epoch = epoch
        return self.prompts[int(self._order[position])]


def _load_file(path: Path, datasets: Any) -> Any:
    loader = LOADERS.get(path.suffix)
    if loader is None:
        raise DataError(f"'{path}' is none of {', '.join(LOADERS)}")
    if path.suffix == ".jsonl":
        return _read_jsonl(path)
    return datasets.load_dataset(loader, data_files=str(path), split="train")


def _read_jsonl(path: Path) -> list[Row]:
    # Not through `datasets`: it gives no line number, and fills the keys a row lacks with None.
    rows = []
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{path}:{number}: not JSON: {error}") from error
            if not isinstance(row, dict):
                raise DataError(f"{path}:{number}: a row is an object, not {line.strip()[:40]}")
            rows.append(row)
    return rows


def _load_hub(name: str, datasets: Any) -> Any:
    repository, *rest = name.split(":")
    split = rest.pop() if rest else "train"
    return datasets.load_dataset(repository, *rest, split=split)


def _cause(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _prompt(where: str, row: Row, tokenizer: PreTrainedTokenizerBase) -> Prompt:
    content = row.get("prompt")
    if isinstance(content, str) and content:
        ids = tokenizer(content)["input_ids"]
    elif isinstance(content, list) and content:
        ids = _apply_template(where, content, tokenizer)
    else:
        raise DataError(f"{where}: 'prompt' is {content!r:.60}, not a text or a list of messages")
    columns = {name: value for name, value in row.items() if name != "prompt"}
    return Prompt(list(ids), content, columns)


def _apply_template(where: str, messages: Any, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    if not all(isinstance(m, dict) and m.get("role") and m.get("content") for m in messages):
        raise DataError(f"{where}: a message needs a role and content: {messages!r:.80}")
    if tokenizer.chat_template is None:
        raise DataError(f"{where} is a conversation, but the tokenizer has no chat template")
    try:
        ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=False)
    except Exception as error:
        raise DataError(f"{where} does not fit the chat template: {error}") from error
    return cast(list[int], ids)
