"""Options about the rows to learn from."""

from typing import Literal

from pydantic import Field

from anypo.support.options import Options


class DataOptions(Options, panel="Data and sampling"):
    """What is learnt from, and how long it may be."""

    data: str | None = Field(None, description="File, directory or hub name; else the task's.")
    bad_rows: Literal["error", "skip"] = Field(
        "error", description="What to do about rows that cannot be used."
    )
    max_prompt_length: int = Field(512, ge=1, description="Tokens; longer is an error.")
    max_completion_length: int = Field(512, ge=1, description="Tokens; longer is cut.")
