"""A block of run options."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """Base of the blocks that the options of a run are made of: frozen, and strict about names.

    A block stands beside what reads it, in a file that imports nothing heavy: `--help` needs it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    panel: ClassVar[str] = ""  # of `--help`, in which its options are shown
