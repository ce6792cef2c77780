"""What data sets hold for a text: a text, or messages whose content is text or parts of it."""

import re
from typing import Any

from anypo.errors import DataError

MESSAGES = re.compile(
    r"""\s*\[\s*\{\s*["'](role|content)["']\s*:"""
)  # as JSON or Python write them


def as_texts(content: Any) -> Any:
    """A prompt or completion whose messages hold texts where they held parts of text.

    Raises:
        DataError: A message holds a part of another kind, such as an image; or a text is broken, or
            holds messages.
    """
    if isinstance(content, list):
        return [_as_text(message) for message in content]
    if isinstance(content, str) and MESSAGES.match(content):
        raise DataError(f"{content!r:.60} is a text that holds messages: give the list of them")
    return sound(content) if isinstance(content, str) else content


def _as_text(message: Any) -> Any:
    if not isinstance(message, dict) or message.get("role") == "tool":
        return message  # what a tool says may be an object, which the chat template renders
    said = message.get("content")
    parts = [said] if isinstance(said, dict) else said
    text = "".join(map(_text, parts)) if isinstance(parts, list) else said
    return {**message, "content": sound(text)} if isinstance(text, str) else message


def _text(part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    text = part.get("text") if kind == "text" else None
    if not isinstance(text, str):
        raise DataError(f"a message holds {part!r:.60}, and no part but texts can be read")
    return text


def sound(text: str) -> str:
    """A text, if it is one.

    Raises:
        DataError: It holds half of a character, as JSON may write it.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        place = text[max(0, error.start - 10) : error.end]
        raise DataError(f"after {place!r} half a character is missing") from error
    return text


def whole(value: Any) -> Any:
    """What JSON held, with a question mark wherever it has half of a character."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {whole(name): whole(part) for name, part in value.items()}
    return [whole(part) for part in value] if isinstance(value, list) else value
