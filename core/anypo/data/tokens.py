"""Prompts and completions, which are texts or lists of messages, as tokens."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar, cast

from transformers import PreTrainedTokenizerBase

from anypo.data.chat import Chat, Example
from anypo.data.formats import is_reply
from anypo.data.messages import joined
from anypo.errors import DataError
from anypo.hooks.batch import Completion
from anypo.support.sequences import shared_start

T = TypeVar("T")


class Tokens:
    """Tokens of prompts and completions.

    The tokens of a prompt are the same with a completion and without one, because sampling starts
    from a prompt without. See `Chat` for the exception. A model that scores texts samples nothing,
    and gets the tokens that anybody would give it.

    Args:
        tokenizer: Of a model, with an end-of-sequence token.
        scored: Whether the model scores texts.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, scored: bool = False) -> None:
        self.tokenizer, self.chat, self.scored = tokenizer, Chat(tokenizer), scored
        self.end = self.chat.end

    @property
    def ends(self) -> set[int]:
        """The tokens that completions end with, of texts and conversations."""
        return self.chat.ends

    def prompt(
        self, content: Any, *, may_be_empty: bool = False, options: Mapping[str, Any] | None = None
    ) -> list[int]:
        """The tokens of a prompt, for somebody to continue.

        Args:
            content: A text or a list of messages.
            may_be_empty: Whether an empty text will do.
            options: What the chat template is given beside the messages, such as `tools`.

        Raises:
            DataError: It is neither a text nor a conversation that fits the chat template.
        """
        if isinstance(content, str) and (content or may_be_empty):
            return self.chat.first + self.chat.ids(content)
        if isinstance(content, list) and content:
            return self.chat.ids(self.chat.template.opening(content, options or {}))
        raise DataError(f"'prompt' is {content!r:.60}, not a text or a list of messages")

    def example(
        self, prompt: Any, contents: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Example:
        """The tokens of a prompt and of the completions that come with it.

        Args:
            prompt: A text, which may be empty, or a list of messages.
            contents: The completions by column, of the same kind as the prompt.
            options: As of `prompt`.

        Raises:
            DataError: As `prompt` does; or a completion, whose column is named, is empty, of
                another kind than the prompt, or does not follow it.
        """
        if self.scored:
            return self._scored(prompt, contents, options)
        if isinstance(prompt, list):
            opening = self.chat.template.opening(prompt, options)
            continued = partial(self.chat.template.conversation, prompt, opening, options=options)
            return self.chat.example(opening, _each(contents, list, continued))
        ids = self.prompt(prompt, may_be_empty=True)
        return Example(ids, _each(contents, str, partial(self._text, prompt, ids)))

    def whole(self, prompt: Any, content: Any, options: Mapping[str, Any]) -> list[int]:
        """The tokens of a prompt and its completion, as a model that scores texts reads them.

        A conversation is exactly what the chat template renders; a text has an end.

        Raises:
            DataError: As `prompt` does.
        """
        if isinstance(prompt, list):
            return self.chat.ids(self.chat.template.rendered(joined(prompt, content), options))
        return self._ended(self.prompt(prompt + content, may_be_empty=True))

    def says_nothing(self, content: str | list[Any]) -> bool:
        """Whether a completion, or a reply in it, does nothing but end."""
        if isinstance(content, str):
            return not content.strip().removesuffix(cast(str, self.tokenizer.eos_token)).strip()
        said = [m.get("tool_calls") or m["content"] for m in content if is_reply(m)]
        return any(isinstance(text, str) and self.says_nothing(text) for text in said)

    def _scored(
        self, prompt: Any, contents: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Example:
        dropped = False
        if isinstance(prompt, list):
            opening = self.chat.template.opening(prompt, options)
            rendered = partial(self.chat.template.whole, prompt, opening, options=options)
            told = _each(contents, list, rendered)
            whole = {column: self.chat.ids(said.text) for column, said in told.items()}
            dropped = any(said.dropped for said in told.values())
        else:
            whole = _each(contents, str, partial(self.whole, prompt, options=options))
        before = self.prompt(prompt, options=options, may_be_empty=True)
        start = min(
            shared_start(before, *whole.values()), *(len(ids) - 1 for ids in whole.values())
        )
        completions = {column: Completion(ids[start:]) for column, ids in whole.items()}
        return Example(next(iter(whole.values()))[:start], completions, dropped=dropped)

    def _text(self, prompt: str, prompt_ids: list[int], content: str) -> Completion:
        whole = self.prompt(prompt + content)
        if whole[: len(prompt_ids)] == prompt_ids and len(whole) > len(prompt_ids):
            following = whole[len(prompt_ids) :]
        else:  # a token spans both; the sampler would not have seen it so either
            following = self.chat.following(content)
        if not following:
            raise DataError("is empty: the tokenizer makes nothing of it")
        return Completion(self._ended(following))

    def _ended(self, ids: list[int]) -> list[int]:
        return ids if ids[-1:] == [self.end] else [*ids, self.end]


def _each(contents: Mapping[str, Any], kind: type, make: Callable[[Any], T]) -> dict[str, T]:
    """What is made of each content, of the prompt's kind; an error names its column."""
    made = {}
    for column, content in contents.items():
        try:
            if not content or (kind is str and not str(content).strip()):
                raise DataError("is empty")
            if not isinstance(content, kind):
                prompt = "a text" if kind is str else "a list of messages"
                raise DataError(
                    f"is {content!r:.60}, which does not follow a prompt that is {prompt}"
                )
            made[column] = make(content)
        except DataError as error:
            raise DataError(f"'{column}' {error}") from error
    return made
