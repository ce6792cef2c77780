"""Turn the rows of a data set into prompts, and the completions that they hold into tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, cast

from transformers import PreTrainedTokenizerBase

from anypo.batch import Completion, Prompt
from anypo.errors import DataError
from anypo.formats import Row
from anypo.rollout import Inputs


@dataclass
class Prompts:
    """The prompts of a data set, and what was done to its rows."""

    prompts: list[Prompt] = field(default_factory=list)
    cut: int = 0  # completions that were longer than allowed
    identical: list[int] = field(default_factory=list)  # rows left out: nothing tells them apart


def to_prompts(
    name: str,
    rows: Sequence[Row],
    tokenizer: PreTrainedTokenizerBase,
    inputs: Inputs,
    max_prompt_length: int,
    max_completion_length: int,
    *,
    originals: int | None = None,
) -> Prompts:
    """The tokenised prompts of the rows of a data set, each with its other columns.

    A prompt is a string, or a list of messages that goes through the tokenizer's chat template.
    So is a completion. It gets an end-of-sequence token, and is cut where it is too long.

    Args:
        name: What to call the data set in an error.
        rows: See `load_rows`.
        tokenizer: Of the model that will complete the prompts.
        inputs: What of a row is read beside its prompt.
        max_prompt_length: In tokens; a longer prompt is an error, never cut in silence.
        max_completion_length: In tokens.
        originals: Rows that the data set had before each became several.

    Raises:
        DataError: A row lacks a column, or its content is unusable.
    """
    reader = _Reader(tokenizer, inputs, max_prompt_length, max_completion_length)
    found = Prompts()
    for index, row in enumerate(rows):
        number = 1 + index * (originals or len(rows)) // len(rows)
        try:
            prompt = reader.read(row)
        except DataError as error:
            raise DataError(f"row {number} of '{name}': {error}") from error
        held = [tuple(completion.ids) for completion in prompt.completions.values()]
        if len(set(held)) < len(held):
            found.identical.append(number)
            continue
        found.cut += sum(completion.truncated for completion in prompt.completions.values())
        found.prompts.append(prompt)
    if not found.prompts:
        raise DataError(f"every row of '{name}' holds the same completion twice")
    return found


class _Reader:
    """Reads one row after the other."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, inputs: Inputs, max_prompt: int, max_new: int
    ) -> None:
        self.text, self.inputs = Tokens(tokenizer), inputs
        self.max_prompt, self.max_new = max_prompt, max_new

    def read(self, row: Row) -> Prompt:
        missing = sorted({"prompt", *self.inputs.completions, *self.inputs.columns} - row.keys())
        if missing:
            raise DataError(f"there is no '{missing[0]}', only {', '.join(row)}")
        content = row["prompt"]
        ids = self.text.prompt(content, may_be_empty=bool(self.inputs.completions))
        if len(ids) > self.max_prompt:
            raise DataError(
                f"the prompt has {len(ids)} tokens, the limit is {self.max_prompt}; shorten it, or "
                "raise max_prompt_length if the model attends to more"
            )
        completions = {
            column: self._completion(column, content, ids, row[column])
            for column in sorted(self.inputs.completions)
        }
        if not ids:  # nothing predicts the first token, so it is not learnt
            ids, completions = _first_as_prompt(completions)
        columns = {column: value for column, value in row.items() if column != "prompt"}
        columns |= {c: CHECKS[c](c, row[c]) for c in self.inputs.columns if c in CHECKS}
        return Prompt(ids, content, columns, completions)

    def _completion(
        self, column: str, prompt: Any, prompt_ids: list[int], value: Any
    ) -> Completion:
        try:
            completion = self.text.completion(prompt, prompt_ids, value)
        except DataError as error:
            raise DataError(f"'{column}' {error}") from error
        if len(completion.ids) <= self.max_new:
            return completion
        mask = completion.mask and completion.mask[: self.max_new]
        if mask and not any(mask):
            raise DataError(
                f"'{column}' has nothing to learn from in its first {self.max_new} tokens; raise "
                "max_completion_length"
            )
        return Completion(completion.ids[: self.max_new], mask, truncated=True)


class Tokens:
    """Tokens of prompts and completions, which are texts or lists of messages.

    The tokens of a prompt are the same with a completion and without one, because sampling starts
    from a prompt without.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.special = set(tokenizer.all_special_ids)
        self.end = cast(int, tokenizer.eos_token_id)

    def prompt(self, content: Any, *, may_be_empty: bool = False) -> list[int]:
        """The tokens of a prompt.

        Raises:
            DataError: It is neither a text nor a conversation that fits the chat template.
        """
        if isinstance(content, str) and (content or may_be_empty):
            return list(self.tokenizer(content)["input_ids"])
        if isinstance(content, list) and (content or may_be_empty):
            return self._rendered(content, reply=True)
        raise DataError(f"'prompt' is {content!r:.60}, not a text or a list of messages")

    def completion(self, prompt: Any, prompt_ids: list[int], content: Any) -> Completion:
        """The tokens that follow the prompt's.

        Raises:
            DataError: It is empty, or of another kind than the prompt.
        """
        if not (content and (content.strip() if isinstance(content, str) else True)):
            raise DataError("is empty")
        if isinstance(prompt, str) and isinstance(content, str):
            return Completion([*self._following(prompt, prompt_ids, content), self.end])
        if isinstance(prompt, list) and isinstance(content, list):
            return self._replies(prompt, prompt_ids, content)
        raise DataError(
            f"is {content!r:.60}, which does not follow a prompt that is "
            f"{'a text' if isinstance(prompt, str) else 'a list of messages'}"
        )

    def _following(self, prompt: str, prompt_ids: list[int], text: str) -> list[int]:
        whole = list(self.tokenizer(prompt + text)["input_ids"])
        if whole[: len(prompt_ids)] == prompt_ids and len(whole) > len(prompt_ids):
            following = whole[len(prompt_ids) :]
        else:  # a token spans both; the sampler would not have seen it so either
            following = list(self.tokenizer(text, add_special_tokens=False)["input_ids"])
        if not following:
            raise DataError("is empty: the tokenizer makes nothing of it")
        return following[:-1] if following[-1] == self.end else following

    def _replies(self, prompt: list[Any], prompt_ids: list[int], replies: list[Any]) -> Completion:
        """The tokens of messages; those of the assistant are unmasked."""
        ids, mask = list(prompt_ids), [False] * len(prompt_ids)
        for i, message in enumerate(replies):
            is_reply = isinstance(message, dict) and message.get("role") == "assistant"
            start = self._rendered([*prompt, *replies[:i]], reply=is_reply)
            until = self._rendered([*prompt, *replies[: i + 1]], reply=False)
            for before, after in pairwise((ids, start, until)):
                if after[: len(before)] != before:
                    raise DataError(
                        "does not continue the prompt: it begins with no reply, or the chat "
                        "template renders earlier messages otherwise once later ones follow"
                    )
            mask += [False] * (len(start) - len(mask)) + [is_reply] * (len(until) - len(start))
            ids = until
        if not any(mask):
            raise DataError("holds no message of the assistant")
        return self._ended(ids[len(prompt_ids) :], mask[len(prompt_ids) :])

    def _ended(self, ids: list[int], mask: list[bool]) -> Completion:
        """Without what follows the last unmasked special token; with an end, if there is none."""
        until = len(mask) - mask[::-1].index(True)
        end = until
        while end and mask[end - 1] and ids[end - 1] not in self.special:
            end -= 1
        if end and mask[end - 1]:
            ids, mask = ids[:end], mask[:end]
        else:
            ids, mask = [*ids[:until], self.end], [*mask[:until], True]
        return Completion(ids, None if all(mask) else mask)

    def _rendered(self, messages: Any, *, reply: bool) -> list[int]:
        if not all(isinstance(m, dict) and m.get("role") and m.get("content") for m in messages):
            raise DataError(f"a message needs a role and content: {messages!r:.80}")
        if self.tokenizer.chat_template is None:
            raise DataError("it is a conversation, but the tokenizer has no chat template")
        if not messages and not reply:
            return []
        try:
            ids = self.tokenizer.apply_chat_template(
                messages, add_generation_prompt=reply, return_dict=False
            )
        except Exception as error:
            raise DataError(f"it does not fit the chat template: {error}") from error
        return cast(list[int], ids)


def _first_as_prompt(
    completions: dict[str, Completion],
) -> tuple[list[int], dict[str, Completion]]:
    firsts = {completion.ids[0] for completion in completions.values()}
    if len(firsts) > 1 or any(len(completion.ids) < 2 for completion in completions.values()):
        raise DataError("the prompt is empty, and the completions begin with different tokens")
    rest = {
        name: Completion(c.ids[1:], c.mask and c.mask[1:], c.truncated)
        for name, c in completions.items()
    }
    return list(firsts), rest


def _boolean(column: str, value: Any) -> bool:
    if value not in (True, False):
        raise DataError(f"'{column}' is {value!r:.60}, not true or false")
    return bool(value)


def _number(column: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value):
        raise DataError(f"'{column}' is {value!r:.60}, not a finite number")
    return float(value)


CHECKS = {"label": _boolean, "margin": _number}  # columns whose type the formats fix
