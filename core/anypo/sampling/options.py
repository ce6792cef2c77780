"""Options about sampling; a sampler has further ones of its own."""

from typing import Any

from pydantic import Field, field_validator

from anypo.data.options import RowOptions
from anypo.support.functions import name_of
from anypo.support.options import Options


class SamplingOptions(Options, panel="Data and sampling"):
    """Who samples, and from which distribution."""

    sampler: str = Field("transformers", description="What samples completions; see anypo list.")
    temperature: float = Field(1.0, gt=0, description="Of sampling and of every log-prob.")


class ConversationOptions(RowOptions, panel="Several turns"):
    """Who answers the policy, and how long they talk."""

    environment: str | None = Field(
        None, description="Who answers: NAME, file.py:Class or module:Class."
    )
    max_turns: int = Field(4, ge=1, description="Completions of a conversation.")
    max_conversation_length: int | None = Field(
        None,
        ge=1,
        description="Tokens of all; else twice what all turns may write.",
    )
    environment_timeout: float = Field(
        60.0,
        ge=0,
        description="Seconds for all answers; 0: no limit.",
    )

    @field_validator("environment", mode="before")
    @classmethod
    def _name(cls, value: Any) -> Any:
        """A class is written down by its name."""
        return name_of(value) if callable(value) else value

    @property
    def longest_sample(self) -> int:
        """Tokens of what may follow a prompt: a completion, or all of a conversation."""
        if self.environment is None:
            return self.max_completion_length
        usual = 2 * self.max_turns * self.max_completion_length
        return self.max_conversation_length or usual

    @property
    def most_written(self) -> int:
        """Tokens of a sample that the policy itself may write."""
        if self.environment is None:
            return self.max_completion_length
        return min(self.max_turns * self.max_completion_length, self.longest_sample)
