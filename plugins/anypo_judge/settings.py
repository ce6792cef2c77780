"""What `judge:MODEL@URL?prompt=FILE` says."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import httpx2
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from anypo import RewardError

FORM = "judge:MODEL@URL?prompt=FILE, such as judge:gpt-4o-mini@https://api.openai.com/v1"


class Options(BaseModel):
    """What may follow the `?`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    prompt: str | None = None  # a file
    max: Annotated[float, Field(gt=0)] = 1.0  # the best score; the worst is 0
    temperature: Annotated[float, Field(ge=0)] = 0.0
    concurrency: Annotated[int, Field(ge=1)] = 16  # requests at a time


class Settings(Options):
    """Who judges, and how."""

    model: str
    url: str  # of chat completions

    def template(self, default: str) -> str:
        """What the file holds.

        Raises:
            RewardError: It cannot be read.
        """
        try:
            return Path(self.prompt).read_text(encoding="utf-8") if self.prompt else default
        except (OSError, UnicodeDecodeError) as error:
            raise RewardError(f"prompt of the judge cannot be read: {error}") from error


def parsed(argument: str) -> Settings:
    """What the text after `judge:` says.

    Raises:
        RewardError: It says no model, no address, or something that no judge has.
    """
    model, at, rest = argument.partition("@http")
    if not (model and at):
        raise RewardError(f"reward 'judge' needs a model and an address: {FORM}")
    url, given = _address(f"http{rest}")
    try:
        options = Options.model_validate(given)
    except ValidationError as error:
        problem = error.errors()[0]
        what = f"{problem['loc'][0]}={problem['input']!s:.60}: {problem['msg'].lower()}"
        known = ", ".join(Options.model_fields)
        raise RewardError(f"reward 'judge' refuses {what}; its options are {known}") from error
    return Settings(model=model, url=url, **options.model_dump())


def _address(text: str) -> tuple[str, dict[str, Any]]:
    """Where chat completions are asked for, and the options behind it."""
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL as error:
        raise RewardError(f"reward 'judge' has no valid address: {error}; write {FORM}") from error
    options = url.params.multi_items()
    if not url.host or url.fragment:
        raise RewardError(f"reward 'judge' has no valid address: write {FORM}")
    if url.userinfo:
        raise RewardError(
            "reward 'judge' has a name or a password in its address, which would be written down: "
            "leave it out"
        )
    if len(dict(options)) < len(options):
        raise RewardError(f"reward 'judge' is given an option twice: {url.query.decode()}")
    path = url.path.rstrip("/") or "/v1"
    return str(url.copy_with(path=f"{path}/chat/completions", query=None)), dict(options)
