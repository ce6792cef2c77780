"""What the judge answers: its schema, and how it is read."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from anypo import Judgement, RewardError, one_line


class Verdict(BaseModel):
    """What the judge has to say, in this order."""

    model_config = ConfigDict(strict=True, extra="forbid", allow_inf_nan=False)

    reason: str
    score: float


SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "verdict", "strict": True, "schema": Verdict.model_json_schema()},
}


def judgement(content: bytes, highest: float) -> Judgement:
    """The score in the answer of a server, and the reason for it as feedback.

    Raises:
        RewardError: There is none; saying what there is instead.
    """
    text = _said(content)
    try:
        found = Verdict.model_validate_json(text)
    except ValidationError as error:
        raise RewardError(f'no {{"reason": …, "score": …}}, but: {one_line(text)}') from error
    if not 0 <= found.score <= highest:
        raise RewardError(f"a score that is not between 0 and {highest:g}: {one_line(text)}")
    return Judgement(found.score, found.reason)


def _said(content: bytes) -> str:
    """What the model says in the answer of its server."""
    try:
        text: Any = json.loads(content)["choices"][0]["message"]["content"]
    except (ValueError, TypeError, LookupError) as error:
        found = one_line(content.decode(errors="replace"))
        raise RewardError(f"no chat completion, but: {found}") from error
    return text if isinstance(text, str) else json.dumps(text)


def reason(content: bytes) -> str:
    """Why a request failed, as the server says."""
    with suppress(ValueError, KeyError, TypeError):
        return one_line(json.loads(content)["error"]["message"])
    return one_line(content.decode(errors="replace"))
