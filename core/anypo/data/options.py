"""Options about the rows to learn from."""

import json
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, field_validator

from anypo.data.named import Listed
from anypo.support.options import Options

OF_PYTHON = {"True": "true", "False": "false", "None": "null"}  # as texts, all would be true


class RowOptions(Options, panel="Data and sampling"):
    """How rows are read, and how long they may be."""

    bad_rows: Literal["error", "skip"] = Field(
        "error", description="What to do about rows that cannot be used."
    )
    long_prompts: Literal["drop", "cut", "error"] = Field(
        "drop", description="What to do about longer prompts; cut keeps their ends."
    )
    max_prompt_length: int = Field(512, ge=1, description="Tokens; see --long-prompts.")
    max_completion_length: int = Field(512, ge=1, description="Tokens; longer is cut.")
    chat_template_kwargs: dict[str, JsonValue] | None = Field(
        None, description="KEY=VALUE for the chat template; repeat it."
    )

    @field_validator("chat_template_kwargs", mode="before")
    @classmethod
    def _as_table(cls, value: Any) -> Any:
        """The command line gives them as texts."""
        return table(value) if isinstance(value, list) else value


class DataOptions(RowOptions):
    """What is learnt from."""

    data: Annotated[list[str], Listed] | None = Field(
        None,
        min_length=1,
        description="File, directory or hub name; else the task's. Repeat it to learn from "
        "several; =SHARE after all of them says how much is drawn from each.",
    )


def table(pairs: Iterable[str]) -> dict[str, Any]:
    """The table of KEY=VALUE texts; a value that is no JSON is a text.

    Raises:
        ValueError: One is no such pair, or its value is a constant of Python.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise ValueError(f"write {pair} as KEY=VALUE")
        if key in found:
            raise ValueError(f"{key} is given twice")
        if value in OF_PYTHON:
            raise ValueError(f"write {key}={OF_PYTHON[value]}, as in JSON")
        try:
            found[key] = json.loads(value)
        except ValueError:
            found[key] = value
    return found
