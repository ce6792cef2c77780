"""A block of run options."""

from pathlib import PurePath
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, field_validator


class Options(BaseModel):
    """Base of the blocks that the options of a run are made of: frozen, and strict about names.

    A block stands beside what reads it, in a file that imports nothing heavy: `--help` needs it.
    It shows the options in the panel that the block names: `class Mine(Options, panel="Mine")`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    panel: ClassVar[str] = ""

    def __init_subclass__(cls, panel: str = "", **config: Any) -> None:
        super().__init_subclass__(**config)
        if panel:
            cls.panel = panel

    @field_validator("*", mode="before")
    @classmethod
    def _as_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, PurePath) else value
