"""Messages of a conversation, before any chat template renders them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from anypo.data.formats import is_reply
from anypo.errors import DataError

ROLES = {"system", "developer", "user", "assistant", "tool", "function", "ipython"}  # usual ones
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
    role = message.get("role") if isinstance(message, dict) else None
    if not (isinstance(role, str) and role):
        return False
    return message.get("content") is not None or bool(message.get("tool_calls"))


def with_opened(message: Any, opening: str) -> Any:
    """A reply with the beginning of its thought where the prompt opens one and the reply lacks it.

    Policies that are asked so never write it, and data made with them do not hold it.
    """
    said, opened = message.get("content"), re.search(r"<think>\s*\Z", opening)
    if not (opened and isinstance(said, str) and "</think>" in said and "<think>" not in said):
        return message
    return message | {"content": opened[0] + said}


def shown(text: str, message: Mapping[str, Any]) -> list[bool]:
    """Of the thoughts, the content and the calls of a message: whether a text has them."""
    calls = message.get("tool_calls")
    names = map(_called, calls) if isinstance(calls, list) else []
    parts = [*(message.get(name) for name in ("content", *THOUGHTS)), *names]
    said, there = (squeezed(part) for part in parts if isinstance(part, str)), squeezed(text)
    return [part in there for part in said if part]


def _called(call: Any) -> Any:
    function = call.get("function") or call if isinstance(call, dict) else call
    return function.get("name") if isinstance(function, dict) else function


def squeezed(text: str) -> str:
    """A text without whitespace, which chat templates trim."""
    return "".join(text.split())
