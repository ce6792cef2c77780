"""Options about models: where they run, their adapters, the critic."""

from typing import Literal

from pydantic import Field

from anypo.support.options import Options


class MachineOptions(Options, panel="Machine"):
    """Where and how models are run."""

    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where the models live.")
    dtype: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="Of computation. auto: bfloat16 on a GPU."
    )
    weights: Literal["float32", "bfloat16"] = Field(
        "float32", description="All but adapters; bfloat16 rounds small steps away."
    )
    token_budget: int = Field(16384, ge=1, description="Tokens at a time.")
    trust_remote_code: bool = Field(False, description="Run code that comes with a model.")


class RuntimeOptions(MachineOptions):
    """The same, and in how many processes models are trained."""

    processes: int | None = Field(
        None,
        ge=1,
        description="Processes on this machine; under a launcher: how many there must be.",
    )
    sharding: Literal["none", "fsdp"] = Field(
        "none", description="What they share: the work alone, or weights and optimizer too (FSDP2)."
    )


class AdapterOptions(Options, panel="Adapters"):
    """Low-rank adapters."""

    lora_rank: int | None = Field(
        None, ge=1, description="Train low-rank adapters of this rank (peft), not all weights."
    )
    lora_alpha: int = Field(32, gt=0, description="They are scaled by lora_alpha / lora_rank.")
    lora_modules: list[str] = Field([], description="Layers that get one; else all linear.")


class MemoryOptions(Options, panel="Memory"):
    """What is kept of a model."""

    gradient_checkpointing: bool | None = Field(
        None, description="Recompute activations; else so on a GPU above 1 B parameters."
    )
    quantize: Literal["nf4"] | None = Field(
        None, description="Keep the linear layers under adapters in 4 bits (bitsandbytes)."
    )


class CriticOptions(Options, panel="Critic"):
    """The critic, where the algorithm has one."""

    critic: Literal["own", "shared"] = Field(
        "own", description="A decoder of its own, or the policy's."
    )
    critic_model: str | None = Field(
        None, description="A model that scores texts, as which it starts; else as the policy."
    )
    critic_learning_rate: float = Field(1e-5, gt=0, description="Peak learning rate.")
    critic_warmup_steps: int = Field(0, ge=0, description="First steps, for the critic alone.")
