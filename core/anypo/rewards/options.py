"""Options about rewards."""

from typing import Any

from pydantic import Field, field_validator

from anypo.support.functions import name_of
from anypo.support.options import Options


class RewardOptions(Options, panel="Rewards and evaluation"):
    """What scores completions."""

    reward: list[str] = Field(
        [],
        description="NAME, NAME:ARGUMENT, file.py:function, module:function or a model that scores "
        "texts; =WEIGHT may follow all but an ARGUMENT: NAME=WEIGHT:ARGUMENT. Repeat it to add "
        "rewards up.",
    )
    reward_timeout: float = Field(
        60.0, ge=0, description="Seconds per call, and to import it; 0: no limit."
    )
    reward_retries: int = Field(
        3, ge=0, description="Further calls if a service is out of reach or busy."
    )

    @field_validator("reward", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        """A function is written down by its name."""
        given = [value] if callable(value) or isinstance(value, str) else value
        is_list = isinstance(given, list | tuple)
        return [name_of(part) if callable(part) else part for part in given] if is_list else given
