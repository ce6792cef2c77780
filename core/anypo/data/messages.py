"""Messages of a conversation, before any chat template renders them."""

from collections.abc import Mapping, Sequence
from typing import Any

from anypo.data.formats import is_reply
from anypo.errors import DataError

THOUGHTS = ("reasoning_content", "reasoning", "thinking")  # what data sets call that of a message


def joined(prompt: list[Any], replies: list[Any]) -> list[Any]:
    """The messages of a prompt and what follows it, which may continue the last one.

    Raises:
        DataError: It would continue a text by something else.
    """
    if not (is_begun(prompt) and replies and is_reply(replies[0])):
        return [*prompt, *replies]
    more = replies[0].get("content") or ""
    if not isinstance(more, str):
        raise DataError(
            f"is {more!r:.60}, which does not continue the text that the prompt ends in"
        )
    whole = {**prompt[-1], **replies[0], "content": prompt[-1]["content"] + more}
    return [*prompt[:-1], whole, *replies[1:]]


def is_begun(prompt: Sequence[Any]) -> bool:
    """Whether a prompt ends within a reply."""
    last = prompt[-1] if prompt and is_reply(prompt[-1]) else {}
    return isinstance(last.get("content"), str) and not last.get("tool_calls")


def is_message(message: Any) -> bool:
    """Whether it is a message: it has a role, and says or calls something."""
    if not (isinstance(message, dict) and message.get("role")):
        return False
    return message.get("content") is not None or bool(message.get("tool_calls"))


def shows(text: str, message: Mapping[str, Any]) -> bool:
    """Whether a text has the thoughts, the content and the calls of a message."""
    calls = [call for call in message.get("tool_calls") or [] if isinstance(call, dict)]
    names = [(call.get("function") or call).get("name") for call in calls]
    said = [*(message.get(name) for name in ("content", *THOUGHTS)), *names]
    return all(squeezed(part) in squeezed(text) for part in said if isinstance(part, str))


def squeezed(text: str) -> str:
    """A text without whitespace, which chat templates trim."""
    return "".join(text.split())
