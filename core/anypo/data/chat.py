"""Conversations as tokens."""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import accumulate, pairwise
from typing import cast

from transformers import PreTrainedTokenizerBase

from anypo.data.template import Conversation, Template
from anypo.hooks.batch import Completion
from anypo.support.sequences import shared_start

ANCHORS = ("\n", ".")  # what a text is made to follow


@dataclass(frozen=True)
class Example:
    """A prompt and its completions as tokens."""

    prompt: list[int]
    completions: dict[str, Completion] = field(default_factory=dict)
    unlearnt: int = 0  # replies that are there but not learnt
    dropped: bool = False  # whether the chat template does not show all that a reply says


@dataclass(frozen=True)
class Encoded:
    """A text as tokens."""

    ids: list[int]
    starts: list[int]  # the character at which each begins
    ends: list[int]  # and ends


class Chat:
    """Tokens of texts and conversations.

    Sampling starts from the prompt and what the template opens a reply with, so that is the prompt
    of given completions too, wherever they are rendered so. Some templates open a reply otherwise
    than they render one, with a thought that a finished reply lacks. There the prompt is what the
    opening and all completions of the row have in common.

    Some templates render a reply otherwise once later messages follow: they forget its thoughts.
    No policy ever writes what is left, so it is there but not learnt.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer, self.template = tokenizer, Template(tokenizer)
        self.end = cast(int, tokenizer.eos_token_id)

    @property
    def ends(self) -> set[int]:
        """The tokens that end a completion, of a text or a conversation."""
        closing = self.template.closing[0] if self.tokenizer.chat_template else ""
        return {self.end, *(self.ids(closing)[-1:] if self.template.is_ended(closing) else [])}

    def ids(self, text: str) -> list[int]:
        """The tokens of a text alone, without those that the tokenizer puts around every text."""
        return list(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    @cached_property
    def first(self) -> list[int]:
        """The tokens that the tokenizer puts before every text."""
        around, alone = list(self.tokenizer(".")["input_ids"]), self.ids(".")
        starts = range(len(around) - len(alone) + 1)
        return around[: next((i for i in starts if around[i : i + len(alone)] == alone), 0)]

    def following(self, text: str) -> list[int]:
        """The tokens of a text that follows another."""
        anchor, length = self._anchor(text)
        return self.ids(anchor + text)[length:]

    def encoded(self, text: str, cuts: Sequence[int] = (), start: int = 0) -> Encoded:
        """The tokens of a rendered text, from a character on, and where they are.

        Where the tokenizer cannot tell where tokens end, they are made to end at the `cuts`.
        """
        if self.tokenizer.is_fast:
            anchor, length = self._anchor(text[start:]) if start else ("", 0)
            arguments: dict[str, bool] = {"return_offsets_mapping": True}
            found = self.tokenizer(anchor + text[start:], add_special_tokens=False, **arguments)
            shift, places = start - len(anchor), found["offset_mapping"][length:]
            starts, ends = (
                list(accumulate((shift + place[i] for place in places), max)) for i in (0, 1)
            )
            return Encoded(list(found["input_ids"])[length:], starts, ends)
        whole = Encoded([], [], [])
        for begin, end in pairwise(sorted({start, *(c for c in cuts if c > start), len(text)})):
            part = (self.following if begin else self.ids)(text[begin:end])
            whole.ids.extend(part)
            whole.starts.extend([begin] * len(part))
            whole.ends.extend([end] * len(part))
        return whole

    def example(self, opening: str, told: Mapping[str, Conversation]) -> Example:
        """The tokens of conversations that have their prompt in common."""
        prompt = self.ids(opening)
        encoded = {c: self.encoded(said.text, _cuts(said)) for c, said in told.items()}
        start = len(prompt)
        if not all(said.text.startswith(opening) for said in told.values()):
            start = shared_start(prompt, *(whole.ids for whole in encoded.values()))
        for column, whole in encoded.items():
            if whole.ids[:start] != prompt[:start]:  # a token spans both; no sampler sees it so
                rest = self.encoded(told[column].text, _cuts(told[column]), len(opening))
                there = [len(opening)] * start
                encoded[column] = Encoded(prompt + rest.ids, there + rest.starts, there + rest.ends)
        return Example(
            prompt[:start],
            {c: self._completion(said, encoded[c], start) for c, said in told.items()},
            sum(said.unlearnt for said in told.values()),
            any(said.dropped for said in told.values()),
        )

    def _completion(self, said: Conversation, encoded: Encoded, start: int) -> Completion:
        ids, mask = encoded.ids, [False] * len(encoded.ids)
        for turn in said.turns:
            # By where tokens end: where they begin, some tokenizers do not count the space of a
            # word. But some ends of a turn have the whitespace after them in the same token.
            if said.text.startswith(turn.before):
                begin = bisect_right(encoded.ends, len(turn.before))
                if self.template.is_ended(turn.before):  # its token may have a space of the reply
                    begin = max(begin, bisect_left(encoded.starts, len(turn.before)))
            else:
                begin = shared_start(self.ids(turn.before), ids)
            first, last = max(start, begin), bisect_left(encoded.starts, turn.end)
            mask[first:last] = [True] * (last - first)
        if not self.template.is_ended(said.text):
            ids, mask = [*ids, self.end], [*mask, True]
        return Completion(ids[start:], None if all(mask[start:]) else mask[start:])

    def _anchor(self, text: str) -> tuple[str, int]:
        """What to put before a text whose tokens shall be those of one that follows another.

        Some tokenizers put a space before every text. Also how many tokens of its own it has.
        """
        for anchor in ANCHORS:
            before = self.ids(anchor)
            if self.ids(anchor + text)[: len(before)] == before:
                return anchor, len(before)
        return "", 0


def _cuts(said: Conversation) -> list[int]:
    before = [len(turn.before) for turn in said.turns if said.text.startswith(turn.before)]
    return [*before, *(turn.end for turn in said.turns)]
