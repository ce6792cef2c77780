"""Options about the rows to learn from."""

from pathlib import PurePath
from typing import Any, Literal

from pydantic import Field, field_validator

from anypo.support.options import Options


class DataOptions(Options, panel="Data and sampling"):
    """What is learnt from, and how long it may be."""

    data: list[str] | None = Field(
        None,
        min_length=1,
        description="File, directory or hub name; else the task's. Repeat it to learn from "
        "several; =SHARE after all of them says how much is drawn from each.",
    )
    bad_rows: Literal["error", "skip"] = Field(
        "error", description="What to do about rows that cannot be used."
    )
    long_prompts: Literal["drop", "cut", "error"] = Field(
        "drop", description="What to do about longer prompts; cut keeps their ends."
    )
    max_prompt_length: int = Field(512, ge=1, description="Tokens; see --long-prompts.")
    max_completion_length: int = Field(256, ge=1, description="Tokens; longer is cut.")

    @field_validator("data", mode="before")
    @classmethod
    def _data_names(cls, value: Any) -> Any:
        """One may be named by itself."""
        given = [value] if isinstance(value, str | PurePath) else value
        is_list = isinstance(given, list | tuple)
        return [str(x) if isinstance(x, PurePath) else x for x in given] if is_list else given
