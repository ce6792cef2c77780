"""Prompts and completions, which are texts or lists of messages, as tokens."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar, cast

from transformers import PreTrainedTokenizerBase

from anypo.data.chat import Chat, Example
from anypo.data.formats import is_reply
from anypo.errors import DataError
from anypo.hooks.batch import Completion

T = TypeVar("T")


class Tokens:
    """Tokens of prompts and completions.

    The tokens of a prompt are the same with a completion and without one, because sampling starts
    from a prompt without. See `Chat` for the exception.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self.tokenizer, self.chat = tokenizer, Chat(tokenizer)
        self.end = self.chat.end

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
            return list(self.tokenizer(content)["input_ids"])
        if isinstance(content, list) and content:
            return self.chat.encoded(self.chat.rendered(content, options or {})).ids
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
        if isinstance(prompt, list):
            opening = self.chat.rendered(prompt, options)
            continued = partial(self.chat.conversation, prompt, opening, options=options)
            return self.chat.example(opening, _each(contents, list, continued))
        ids = self.prompt(prompt, may_be_empty=True)
        return Example(ids, _each(contents, str, partial(self._text, prompt, ids)))

    def says_nothing(self, content: str | list[Any]) -> bool:
        """Whether a completion does nothing but end."""
        if isinstance(content, str):
            return not content.strip().removesuffix(cast(str, self.tokenizer.eos_token)).strip()
        said = [m.get("tool_calls") or m["content"] for m in content if is_reply(m)]
        return all(isinstance(text, str) and self.says_nothing(text) for text in said)

    def _text(self, prompt: str, prompt_ids: list[int], content: str) -> Completion:
        whole = list(self.tokenizer(prompt + content)["input_ids"])
        if whole[: len(prompt_ids)] == prompt_ids and len(whole) > len(prompt_ids):
            following = whole[len(prompt_ids) :]
        else:  # a token spans both; the sampler would not have seen it so either
            following = list(self.tokenizer(content, add_special_tokens=False)["input_ids"])
        if not following:
            raise DataError("is empty: the tokenizer makes nothing of it")
        return Completion(following if following[-1] == self.end else [*following, self.end])


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
