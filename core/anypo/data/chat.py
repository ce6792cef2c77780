"""Conversations as tokens: what a chat template makes of them, and which of it are replies."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import accumulate, pairwise
from typing import Any, cast

from transformers import PreTrainedTokenizerBase

from anypo.data.formats import is_reply
from anypo.errors import DataError
from anypo.hooks.batch import Completion
from anypo.support.sequences import shared_start

SOMETHING = "anypo"  # said in a reply, to see what the chat template puts after it


@dataclass(frozen=True)
class Example:
    """A prompt and its completions as tokens."""

    prompt: list[int]
    completions: dict[str, Completion] = field(default_factory=dict)
    only_last: bool = False  # whether earlier replies are there but not learnt


@dataclass(frozen=True)
class Conversation:
    """A conversation as its chat template renders it, up to its last reply."""

    text: str
    turns: list[tuple[str, str]]  # of replies that are learnt: what is rendered before and after
    only_last: bool


@dataclass(frozen=True)
class Encoded:
    """A text as tokens."""

    ids: list[int]
    ends: list[int]  # the character at which each ends


class Chat:
    """The chat template of a tokenizer.

    Sampling starts from the prompt and what the template opens a reply with, so that is the prompt
    of given completions too, wherever they are rendered so. Some templates open a reply otherwise
    than they render one, with a thought that a finished reply lacks. There the prompt is what the
    opening and all completions of the row have in common.

    Some templates render a reply otherwise once later messages follow: they forget its thoughts.
    No policy ever writes what is left, so only the last reply is learnt then, after the earlier
    ones as the whole conversation shows them.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        self.special = set(tokenizer.all_special_ids)
        self.end = cast(int, tokenizer.eos_token_id)

    def rendered(
        self, messages: Sequence[Any], options: Mapping[str, Any], *, reply: bool = True
    ) -> str:
        """Messages as a text, and with `reply` the beginning of a reply to them.

        Raises:
            DataError: They are no messages, or do not fit the chat template.
        """
        if not messages:
            raise DataError("'prompt' is empty: a conversation needs a message before the reply")
        if not all(map(_is_message, messages)):
            raise DataError(f"a message needs a role and content: {messages!r:.80}")
        if self.tokenizer.chat_template is None:
            raise DataError("it is a conversation, but the tokenizer has no chat template")
        arguments = {**options, "add_generation_prompt": reply, "tokenize": False}
        try:
            return cast(str, self.tokenizer.apply_chat_template(list(messages), **arguments))
        except Exception as error:
            raise DataError(f"it does not fit the chat template: {error}") from error

    def encoded(self, text: str, cuts: Sequence[int] = (), start: int = 0) -> Encoded:
        """The tokens of a rendered text, from a character on.

        Where the tokenizer cannot tell where tokens end, they are made to end at the `cuts`.
        """
        if self.tokenizer.is_fast:
            rest = text[start:]
            found = self.tokenizer(rest, add_special_tokens=False, return_offsets_mapping=True)
            ends = list(accumulate((start + end for _, end in found["offset_mapping"]), max))
            return Encoded(list(found["input_ids"]), ends)
        ids, ends = [], []
        for begin, end in pairwise(sorted({start, *(c for c in cuts if c > start), len(text)})):
            part = self.tokenizer(text[begin:end], add_special_tokens=False)["input_ids"]
            ids += part
            ends += [end] * len(part)
        return Encoded(ids, ends)

    def conversation(
        self, prompt: list[Any], opening: str, replies: list[Any], options: Mapping[str, Any]
    ) -> Conversation:
        """A prompt and what follows it.

        Raises:
            DataError: There is no reply, or none can be told from the rest.
        """
        answers = [len(prompt) + i for i, message in enumerate(replies) if is_reply(message)]
        if not answers:
            raise DataError("holds no message of the assistant")
        messages = [*prompt, *replies][: answers[-1] + 1]
        text = self.rendered(messages, options, reply=False)
        if answers[0] > len(prompt) and not text.startswith(opening):
            raise DataError("does not continue the prompt: it begins with no reply")
        earlier = [messages[: i + 1] for i in answers[:-1]]
        after = [*(self.rendered(told, options, reply=False) for told in earlier), text]
        only_last = not all(map(text.startswith, after))
        learnt = list(zip(answers, after, strict=True))[-1 if only_last else 0 :]
        turns = []
        for i, until in learnt:
            before = opening if i == len(prompt) else self.rendered(messages[:i], options)
            if not text.startswith(before):
                asked = self.rendered(messages[:i], options, reply=False)
                if not (text.startswith(asked) and before.startswith(asked)):
                    raise DataError(
                        "does not continue the prompt: the chat template renders earlier messages "
                        "otherwise once a reply follows"
                    )
            turns.append((before, until))
        return Conversation(text, turns, only_last)

    def example(self, opening: str, told: Mapping[str, Conversation]) -> Example:
        """The tokens of conversations that have their prompt in common."""
        prompt = self.encoded(opening).ids
        encoded = {c: self.encoded(said.text, self._cuts(said)) for c, said in told.items()}
        if all(said.text.startswith(opening) for said in told.values()):
            start = len(prompt)
            for column, whole in encoded.items():
                if whole.ids[:start] != prompt:  # a token spans both; no sampler would see it so
                    rest = self.encoded(told[column].text, self._cuts(told[column]), len(opening))
                    ends = [len(opening)] * start + rest.ends
                    encoded[column] = Encoded(prompt + rest.ids, ends)
        else:
            start = shared_start(prompt, *(whole.ids for whole in encoded.values()))
        return Example(
            prompt[:start],
            {c: self._completion(said, encoded[c], start) for c, said in told.items()},
            any(said.only_last for said in told.values()),
        )

    def _cuts(self, said: Conversation) -> list[int]:
        lengths = [len(text) for turn in said.turns for text in turn if said.text.startswith(text)]
        return [*lengths, self._end_of_content(said.text)]

    def _completion(self, said: Conversation, encoded: Encoded, start: int) -> Completion:
        ids, mask = encoded.ids, [False] * len(encoded.ids)
        # By where tokens end: where they begin, some tokenizers do not count the space of a word.
        tokens_until = partial(bisect_right, encoded.ends)
        first = start
        for before, after in said.turns:
            if said.text.startswith(before):
                begin = tokens_until(len(before))
            else:
                begin = shared_start(self.encoded(before).ids, encoded.ids)
            first, last = max(start, begin), tokens_until(len(after))
            mask[first:last] = [True] * (last - first)
        closing = max(first, tokens_until(self._end_of_content(said.text)))
        marks = [i for i in range(closing, len(ids)) if ids[i] in self.special]
        if marks:
            ids, mask = ids[: marks[-1] + 1], mask[: marks[-1] + 1]
        else:
            ids, mask = [*ids, self.end], [*mask, True]
        return Completion(ids[start:], None if all(mask[start:]) else mask[start:])

    def _end_of_content(self, text: str) -> int:
        """The character at which the last reply ends and what closes it begins, if that is known.

        A special token before it is one that the reply is about; else the last one closes it.
        """
        closing = self._closing
        return len(text) - len(closing) if closing and text.endswith(closing) else 0

    @cached_property
    def _closing(self) -> str:
        """What the chat template puts after a reply."""
        messages = [{"role": role, "content": SOMETHING} for role in ("user", "assistant")]
        try:
            return self.rendered(messages, {}, reply=False).rpartition(SOMETHING)[2]
        except DataError:  # it demands more of a conversation
            return ""


def _is_message(message: Any) -> bool:
    if not (isinstance(message, dict) and message.get("role")):
        return False
    return message.get("content") is not None or bool(message.get("tool_calls"))
