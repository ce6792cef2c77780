"""Conversations as texts: what a chat template makes of them, and which of it are replies."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from transformers import PreTrainedTokenizerBase

from anypo.data.content import sound
from anypo.data.formats import is_reply
from anypo.data.messages import is_begun, is_message, joined, shown, squeezed, with_opened
from anypo.errors import DataError, one_line
from anypo.support.deadline import DeadlineError, can_be_timed, deadline
from anypo.support.foreign import foreign
from anypo.support.sequences import shared_start

RENDERING = 10.0  # seconds, far more than any conversation takes
SOMETHING = "anypo"  # said in a reply, to see what the chat template puts around it
SYSTEM, USER, REPLY = (
    {"role": role, "content": content}
    for role, content in (("system", "."), ("user", "?"), ("assistant", SOMETHING))
)
NO_REPLY = "holds no message of the assistant"
EMPTY_REPLY = "holds an empty reply"
HIDDEN_REPLY = "holds a reply of which the chat template shows nothing"
NO_START = "does not continue the prompt: it begins with no reply"


@dataclass(frozen=True)
class Turn:
    """A reply that is learnt."""

    before: str  # what is rendered when it begins
    end: int  # the character of the whole text until which it is learnt


@dataclass(frozen=True)
class Conversation:
    """A conversation as its chat template renders it, up to the end of its last reply."""

    text: str
    turns: list[Turn]
    unlearnt: int  # replies that later messages change: no policy ever writes what is left of them
    dropped: bool  # whether the template does not show all that a reply says


class Template:
    """The chat template of a tokenizer."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer = tokenizer
        added = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
        self._special = tuple({*tokenizer.all_special_tokens, *added})
        self._has_ended = False  # timing is not for nothing, so it is only the first time

    def is_ended(self, text: str) -> bool:
        """Whether a text ends with a token that stands for no text."""
        return text.endswith(self._special)

    def rendered(self, messages: Sequence[Any], options: Mapping[str, Any], **how: bool) -> str:
        """Messages as a text.

        Raises:
            DataError: They are no messages, or do not fit the chat template.
        """
        if not messages:
            raise DataError("'prompt' is empty: a conversation needs a message before the reply")
        if not all(map(is_message, messages)):
            raise DataError(f"a message needs a role and content: {messages!r:.80}")
        if self.tokenizer.chat_template is None:
            raise DataError("it is a conversation, but the tokenizer has no chat template")
        arguments = {**options, "add_generation_prompt": False, **how, "tokenize": False}
        limit = RENDERING if can_be_timed() and not self._has_ended else 0
        try:
            with deadline(limit), foreign(_unfit):
                text = self.tokenizer.apply_chat_template(list(messages), **arguments)
        except DeadlineError:
            raise DataError(f"the chat template takes longer than {limit:g} s") from None
        self._has_ended = True
        return sound(cast(str, text))

    def opening(self, prompt: Sequence[Any], options: Mapping[str, Any]) -> str:
        """A prompt as a text to continue: with the beginning of a reply, if it does not end in one.

        Raises:
            DataError: As `rendered` does.
        """
        how = "continue_final_message" if is_begun(prompt) else "add_generation_prompt"
        return self.rendered(prompt, options, **{how: True})

    def conversation(
        self, prompt: list[Any], opening: str, replies: list[Any], options: Mapping[str, Any]
    ) -> Conversation:
        """A prompt and what follows it.

        Raises:
            DataError: There is no reply, none can be told from the rest, or nothing of one is
                shown.
        """
        messages = joined(prompt, replies)
        start = len(messages) - len(replies)
        messages[start:] = [with_opened(m, opening) if is_reply(m) else m for m in messages[start:]]
        answers = [i for i in range(start, len(messages)) if is_reply(messages[i])]
        if not answers:
            raise DataError(NO_REPLY)
        text = self._complete(messages[: answers[-1] + 1], options)
        if answers[0] > start and not text.startswith(opening):
            raise DataError(NO_START)
        turns, dropped = [], False
        for i in answers:
            after = text if i == answers[-1] else self._complete(messages[: i + 1], options)
            if end := self._learnt_until(after, text):
                before = opening if i == start else ""
                turns.append(Turn(self._before(messages[:i], options, text, before), end))
                shows = self._shown(text[:end], messages[: i + 1], options)
                if not any(shows) and after in self._made_up(messages[:i], options):
                    raise DataError(HIDDEN_REPLY if shows else EMPTY_REPLY)
                dropped |= not all(shows)
        ended = text[: turns[-1].end]
        return Conversation(ended, turns, len(answers) - len(turns), dropped)

    def whole(
        self, prompt: list[Any], opening: str, replies: list[Any], options: Mapping[str, Any]
    ) -> Conversation:
        """A prompt and what follows it exactly as anybody would render them.

        Raises:
            DataError: As `rendered` does; or there is no reply, or none to the prompt.
        """
        if not any(map(is_reply, replies)):
            raise DataError(NO_REPLY)
        messages = joined(prompt, replies)
        text = self.rendered(messages, options)
        if not (is_reply(replies[0]) or text.startswith(opening)):
            raise DataError(NO_START)
        ends = range(len(messages) - len(replies) + 1, len(messages) + 1)
        shows = [show for end in ends for show in self._shown(text, messages[:end], options)]
        return Conversation(text, [], 0, not all(shows))

    @cached_property
    def closing(self) -> tuple[str, str]:
        """What the template puts after a reply: until the token that ends it, and then.

        A token that also stands there when more messages follow is rather that than one that ends
        the whole conversation.
        """
        for asked in ([USER], [SYSTEM, USER]):  # some demand more of a conversation
            with suppress(DataError):
                ending, inner = (
                    self.rendered([*asked, REPLY, *more], {}).rpartition(SOMETHING)
                    for more in ([], [USER])
                )
                return self._split(ending[2], inner[2]) if ending[1] else ("", "")
        return "", ""

    def _split(self, closing: str, inner: str) -> tuple[str, str]:
        for part in (closing[: shared_start(closing, inner)], closing):
            if ends := [part.rfind(t) + len(t) for t in self._special if t in part]:
                return closing[: max(ends)], closing[max(ends) :]
        return closing, ""

    def _complete(self, messages: list[Any], options: Mapping[str, Any]) -> str:
        """Messages as a text that has all of what the last one says.

        Some templates leave the thoughts out of every reply, as if it were only ever read.
        """
        text, said = self.rendered(messages, options), messages[-1].get("content")
        if not isinstance(said, str) or squeezed(said) in squeezed(text):
            return text
        made_up = self.rendered([*messages[:-1], messages[-1] | REPLY], options)
        before, _, after = made_up.rpartition(SOMETHING)
        if not (before and text.startswith(before) and text.endswith(after)):
            return text
        shown = text[len(before) : len(text) - len(after)]
        return before + said + after if shown.strip() in said else text

    def _shown(self, text: str, messages: list[Any], options: Mapping[str, Any]) -> list[bool]:
        """Of what the last message says: whether it is shown after those before it."""
        before = self.rendered(messages[:-1], options) if messages[1:] else ""
        start = len(before) if text.startswith(before) else shared_start(before, text)
        return shown(text[start:], messages[-1])

    def _made_up(self, messages: list[Any], options: Mapping[str, Any]) -> Iterator[str]:
        """What is rendered for replies that say nothing, and something else."""
        for said in ("", SOMETHING):
            with suppress(DataError):
                yield self.rendered([*messages, REPLY | {"content": said}], options)

    def _learnt_until(self, after: str, text: str) -> int:
        """Until which character `text` has the reply that `after` ends with; 0 if it has another.

        That is with the token that ends it, unless `text` has another one there.
        """
        end, rest = self.closing
        if not after.endswith(end + rest):
            end, rest = "", after[len(after.rstrip()) :]
        ended = after.removesuffix(rest)
        return next(
            (len(part) for part in (ended, ended.removesuffix(end)) if text.startswith(part)), 0
        )

    def _before(
        self, messages: list[Any], options: Mapping[str, Any], text: str, opening: str
    ) -> str:
        """What is rendered when a reply to the messages begins."""
        before = opening or self.rendered(messages, options, add_generation_prompt=True)
        if not text.startswith(before):
            asked = self.rendered(messages, options)
            if not (text.startswith(asked) and before.startswith(asked)):
                raise DataError(
                    "does not continue the prompt: the chat template renders earlier messages "
                    "otherwise once a reply follows"
                )
        return before


def _unfit(error: BaseException) -> DataError:
    return DataError(f"it does not fit the chat template: {one_line(error)}")
