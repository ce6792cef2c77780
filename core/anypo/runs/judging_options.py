"""The options of what completes and scores prompts without training."""

from typing import Annotated

from pydantic import Field

from anypo.data.named import DataSets
from anypo.models.options import MachineOptions
from anypo.rewards.options import RewardOptions
from anypo.sampling.options import ConversationOptions, SamplingOptions
from anypo.support.options import Options


class CompletionOptions(Options, panel="Data and sampling"):
    """What is completed, how often, and how."""

    data: DataSets = Field(
        [],
        description="File, directory or hub name; NAME=… each where there are several. Else that "
        "of the task from which the model comes.",
    )
    limit: int | None = Field(None, ge=1, description="Prompts of each data set, the first ones.")
    samples: int = Field(8, ge=1, description="Completions of each prompt.")
    top_p: float = Field(
        1.0, gt=0, le=1, description="Draw them from the likeliest tokens of this probability."
    )
    top_k: int = Field(0, ge=0, description="Draw them from so many tokens; 1: greedily.")
    stop: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="A text that ends them; scored is what stands before it."
    )
    seed: int = Field(0, ge=0, lt=2**32, description="Of sampling.")


class JudgingConfig(
    CompletionOptions, SamplingOptions, ConversationOptions, RewardOptions, MachineOptions
):
    """How a model completes prompts, and what scores its completions."""
