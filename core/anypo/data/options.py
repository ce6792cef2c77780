"""Options about the rows to learn from."""

from typing import Literal

from pydantic import Field

from anypo.support.options import Options


class RowOptions(Options, panel="Data and sampling"):
    """How rows are read, and how long they may be."""

    bad_rows: Literal["error", "skip"] = Field(
        "error", description="What to do about rows that cannot be used."
    )
    max_prompt_length: int = Field(512, ge=1, description="Tokens; longer is an error.")
    max_completion_length: int = Field(256, ge=1, description="Tokens; longer is cut.")


class DataOptions(RowOptions):
    """What is learnt from."""

    data: str | None = Field(None, description="File, directory or hub name; else the task's.")
