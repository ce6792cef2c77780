"""What the judge is asked: a template that a user may write."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import StrictUndefined, TemplateError, meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from anypo import RewardError

DEFAULT = """\
Judge how well the answer fulfils the request, from 0 (not at all) to {{ max }} (perfectly).

<request>
{{ prompt }}
</request>

<answer>
{{ completion }}
</answer>

Say why in one sentence, then give the score.
"""
GIVEN = {"prompt", "completion", "max"}


class Template:
    """A Jinja template of `prompt`, `completion`, `max` and columns of the data set.

    Raises:
        RewardError: It is none, or does not show the completion.
    """

    def __init__(self, text: str) -> None:
        room = ImmutableSandboxedEnvironment(undefined=StrictUndefined)
        try:
            names = meta.find_undeclared_variables(room.parse(text))
            self._template = room.from_string(text)
        except TemplateError as error:
            raise RewardError(f"prompt of the judge is no Jinja template: {error}") from error
        if "completion" not in names:
            raise RewardError("prompt of the judge does not show it {{ completion }}")
        self.columns = names - GIVEN

    def filled(self, prompt: Any, completion: Any, highest: float, row: Mapping[str, Any]) -> str:
        """The request about one completion."""
        shown = {"prompt": _text(prompt), "completion": _text(completion), "max": f"{highest:g}"}
        return self._template.render({**row, **shown})


def _text(content: Any) -> str:
    """A text as it is; of a conversation, who says what, and of a reply alone what it says."""
    if isinstance(content, str):
        return content
    if [message["role"] for message in content] == ["assistant"]:
        return str(content[0]["content"])
    return "\n\n".join(f"{message['role']}: {message['content']}" for message in content)
