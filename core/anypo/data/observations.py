"""What is said to a reply as tokens that follow it."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from anypo.data.messages import is_begun, joined, shown
from anypo.data.template import REPLY
from anypo.data.tokens import Tokens
from anypo.errors import DataError

MARK = "anypo5c0ffee"  # said in a made-up reply; nobody else says it
THOUGHT = "anypo7ea5e"
SAID = "anypo5a1d1e7"
USER = {"role": "user", "content": SAID}
TOOL = {"role": "tool", "name": "look", "content": SAID, "tool_call_id": "anypo0001"}
ARGUMENTS = {"mark": MARK}
NO_END = "the chat template ends no reply with a token of its own, so none can follow the last one"
REWRITES = (
    "the chat template renders earlier messages otherwise once a reply follows, so that no "
    "conversation is one sequence of tokens"
)


class Observations:
    """Tokens between a reply that has ended and the next one.

    What the policy wrote is never rendered: the chat template renders a made-up reply in its place,
    and what stands behind that is what the template makes of the messages that follow.

    Args:
        tokens: Of the policy's tokenizer.
        ends: Token ids that end replies.
    """

    def __init__(self, tokens: Tokens, ends: Sequence[int]) -> None:
        self.tokens, self.template, self.ends = tokens, tokens.chat.template, set(ends)
        ids = sorted(self.ends | tokens.ends)
        names = zip(tokens.tokenizer.convert_ids_to_tokens(ids), ids, strict=True)
        self._ends = {name: i for name, i in names if name and self.template.is_ended(name)}

    def after(
        self,
        last: int,
        prompt: list[Any],
        messages: Sequence[Any],
        options: Mapping[str, Any],
    ) -> list[int]:
        """The tokens of messages that follow a reply, up to where the next reply begins.

        Args:
            last: Token of the reply. One that is no end gets the end that the template gives it.
            prompt: Messages before the first reply.
            messages: That follow.
            options: What the chat template is given beside messages.

        Raises:
            DataError: The template cannot render all of them, or gives no sequence of tokens.
        """
        end, text = self._between(prompt, messages, options)
        ids = self.tokens.chat.ids(end + text)
        if ids[:1] != [self._ends[end]]:
            raise DataError(NO_END)
        return ids[1:] if last in self.ends else ids

    def check(self, prompt: list[Any], options: Mapping[str, Any], *, calls: bool) -> None:
        """Refuse a template with which no conversation can be one sequence; raises DataError.

        Args:
            prompt: Any one of the run.
            options: As of `after`.
            calls: Whether there are tools.
        """
        self.after(-1, prompt, [USER], options)
        if calls:
            shown = self.template.opening(prompt, options)
            if shown == self.template.opening(prompt, {**options, "tools": None}):
                raise DataError("the chat template shows no tools")
            # What ends a call may be known to the generation settings of the model alone.
            special = self.tokens.tokenizer.all_special_ids
            Observations(self.tokens, special).after(-1, prompt, [TOOL], options)

    def calls(
        self, prompt: list[Any], options: Mapping[str, Any]
    ) -> Iterator[tuple[list[int], list[int]]]:
        """The tokens of a call of `TOOL` in the forms that the template has, and those before."""
        opening = self.template.opening(prompt, options)
        asked = self.template.rendered(prompt, options)
        for arguments in ARGUMENTS, json.dumps(ARGUMENTS):
            with suppress(DataError):  # some take one of them alone
                calling = joined(prompt, [_calling(TOOL, arguments)])
                text = self.template.rendered(calling, options).rstrip()
                before = opening if text.startswith(opening) else asked
                yield self.tokens.chat.ids(text[len(before) :]), self.tokens.chat.ids(before)

    def forgets_thoughts(self, prompt: list[Any], options: Mapping[str, Any]) -> bool:
        """Whether the template leaves out of earlier replies what the policy thought."""
        thinking = REPLY | {"content": f"<think>\n{THOUGHT}\n</think>\n\n{MARK}"}
        text = self.template.rendered([*joined(prompt, [thinking]), USER], options)
        return MARK in text and THOUGHT not in text

    def _between(
        self, prompt: list[Any], messages: Sequence[Any], options: Mapping[str, Any]
    ) -> tuple[str, str]:
        """The text of the token that ends a reply, and what follows it."""
        text = self._rendered(prompt, messages, options)
        before, _, behind = text.partition(MARK)
        places = {behind.find(end): end for end in self._ends if end in behind}
        if not places:
            raise DataError(NO_END)
        asked = self.template.rendered(prompt, options)
        if is_begun(prompt):
            asked = self.template.opening(prompt, options)
        if not before.startswith(asked):
            raise DataError(REWRITES)
        place = min(places)
        left = behind[place + len(places[place]) :]
        for message in messages:
            _check_shown(left, message)
        return places[place], left

    def _rendered(
        self, prompt: list[Any], messages: Sequence[Any], options: Mapping[str, Any]
    ) -> str:
        """The messages behind a made-up reply that says the mark, or calls a tool with it."""
        how = {"add_generation_prompt": True}
        if messages[0]["role"] != "tool":
            made_up = joined(prompt, [REPLY | {"content": MARK}])
            return self._marked(self.template.rendered([*made_up, *messages], options, **how))
        try:
            calling = _calling(messages[0], ARGUMENTS)
            text = self.template.rendered([*joined(prompt, [calling]), *messages], options, **how)
        except DataError:  # some templates want a text
            calling = _calling(messages[0], json.dumps(ARGUMENTS))
            text = self.template.rendered([*joined(prompt, [calling]), *messages], options, **how)
        return self._marked(text)

    def _marked(self, text: str) -> str:
        if MARK not in text:
            raise DataError("the chat template does not show what a reply says, or what it calls")
        return text


def _check_shown(text: str, message: Mapping[str, Any]) -> None:
    """Refuse a text that lacks what a message says; raises DataError."""
    said = message.get("content")
    forms = [said]
    if isinstance(said, str):  # some templates write it as JSON
        forms += [json.dumps(said, ensure_ascii=ascii_alone)[1:-1] for ascii_alone in (False, True)]
    if not any(all(shown(text, {**message, "content": form})) for form in forms):
        raise DataError(
            f"behind a reply the chat template does not show what the role '{message['role']}' "
            f"says: {said!r:.60}"
        )


def _calling(answer: Mapping[str, Any], arguments: Any) -> dict[str, Any]:
    """A made-up reply that calls the tool that answers."""
    function = {"name": answer.get("name", ""), "arguments": arguments}
    call = {"id": answer.get("tool_call_id"), "type": "function", "function": function}
    return {"role": "assistant", "content": "", "tool_calls": [call]}
