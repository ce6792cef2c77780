"""Replies of the policy as messages, with the calls of tools that they hold."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from transformers import PreTrainedTokenizerBase

from anypo.data.content import whole
from anypo.errors import one_line

CALL = re.compile(r"<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL)
NO_CALL = 'a call is a JSON object {"name": …, "arguments": {…}}'


@dataclass(frozen=True)
class Call:
    """A call of a tool; one that makes no sense says why."""

    name: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    id: str | None = None
    flaw: str = ""


@dataclass(frozen=True)
class Reply:
    """What the policy said."""

    message: dict[str, Any]
    calls: list[Call]


class Replies:
    """Reads replies: by the tokenizer's own parsing where it has one, else `<tool_call>{…}`.

    Args:
        tokenizer: Of the policy.
        tools: Schemas of what may be called. Without any, a reply is its text and calls nothing.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, tools: Sequence[Any]) -> None:
        self.tokenizer, self.tools = tokenizer, list(tools)

    def read(self, ids: list[int], before: list[int]) -> Reply:
        """The reply of some tokens.

        Args:
            ids: As the policy wrote them.
            before: All tokens before; some templates open a reply there.
        """
        if not self.tools:
            return Reply(_said(self._text(ids)), [])
        if getattr(self.tokenizer, "response_template", None) is None:
            return self._tagged(ids, len(before))
        parse: Any = self.tokenizer.parse_response
        try:
            message = {"content": "", **whole(parse(ids, prefix=before, tools=self.tools))}
        except Exception as error:  # whatever the policy wrote is no fault of the run
            flawed = [Call(flaw=one_line(error))]
            return Reply(_said(self._text(ids)), _identified(flawed, len(before)))
        message["role"] = "assistant"
        calls = [_read(call) for call in message.get("tool_calls") or ()]
        return Reply(message, _identified(calls, len(before)))

    def _text(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True))

    def _tagged(self, ids: list[int], place: int) -> Reply:
        text = str(self.tokenizer.decode(ids, skip_special_tokens=False))
        found = [replace(_of_json(call), id=None) for call in CALL.findall(text)]
        calls = _identified(found, place)
        said = CALL.sub("", text)
        for token in self.tokenizer.all_special_tokens:
            said = said.replace(token, "")
        sound = [_told(call) for call in calls if not call.flaw]
        return Reply(_said(said, sound), calls)


def _said(content: str, calls: Sequence[Any] = ()) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return message | ({"tool_calls": [*calls]} if calls else {})


def _told(call: Call) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"type": "function", "id": call.id, "function": function}


def _identified(calls: Sequence[Call], place: int) -> list[Call]:
    """Calls with made-up ids where they have none, as some chat templates demand nine characters.

    A reply has fewer calls than tokens, so that its place tells those of a conversation apart.
    """
    return [replace(c, id=c.id or f"{place + i:09d}") for i, c in enumerate(calls)]


def _of_json(text: str) -> Call:
    try:
        return _read(whole(json.loads(text)))
    except (ValueError, RecursionError) as error:
        return Call(flaw=f"{NO_CALL}: {one_line(error)}")


def _read(given: Any) -> Call:
    """A call, as models write them and as messages hold them."""
    own = given.get("function", given) if isinstance(given, dict) else given
    if not (isinstance(own, dict) and isinstance(own.get("name"), str)):
        return Call(flaw=NO_CALL)
    arguments = own.get("arguments") or {}
    if isinstance(arguments, str):
        try:
            arguments = whole(json.loads(arguments))
        except (ValueError, RecursionError) as error:
            return Call(own["name"], flaw=f"{NO_CALL}: {one_line(error)}")
    if not isinstance(arguments, dict):
        return Call(own["name"], flaw=NO_CALL)
    named = given.get("id")
    return Call(own["name"], arguments, named if isinstance(named, str) else None)
