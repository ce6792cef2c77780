"""Options about training: steps, updates, the reference, evaluation."""

from typing import Annotated, Literal

from pydantic import Field

from anypo.data.named import DataSets
from anypo.data.options import DataOptions
from anypo.models.options import CriticOptions
from anypo.sampling.options import ConversationOptions, SamplingOptions
from anypo.support.options import Options

POLICY, AVERAGE = OF_POLICY = ("policy", "average")  # teachers that are no other model


class StepOptions(Options, panel="Steps"):
    """How long to train, and what a step is."""

    steps: int | None = Field(None, ge=1, description="Rollouts; else data_epochs says.")
    data_epochs: int = Field(1, ge=1, description="Passes over the data.")
    prompts_per_step: int = Field(16, ge=1, description="Prompts per rollout.")
    max_rounds: int = Field(8, ge=1, description="Rollouts per step at most, to refill.")
    epochs: int = Field(1, ge=1, description="Passes over each rollout.")
    minibatches: int = Field(1, ge=1, description="Optimizer steps per pass.")
    seed: int = Field(0, ge=0, lt=2**32, description="Of sampling and shuffling.")


class OptimizerOptions(Options, panel="Optimizer"):
    """How an optimizer step is made."""

    optimizer: str = Field("adamw", description="As transformers calls it.")
    learning_rate: float = Field(1e-6, gt=0, description="Peak.")
    warmup_steps: int = Field(10, ge=0, description="Steps while it rises.")
    schedule: Literal["linear", "cosine", "constant"] = Field(
        "linear", description="How it goes on after that."
    )
    weight_decay: float = Field(0.0, ge=0, description="Norms and biases are left alone.")
    router_loss: float | None = Field(
        None,
        ge=0,
        description="Weight of the load-balancing loss of a mixture of experts; else its "
        "configuration says; 0: none. It alone depends a little on token_budget.",
    )
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are clipped to it.")
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Average weights too; this share stays.",
    )
    bema: int | None = Field(
        None,
        ge=1,
        description="BEMA: average without lag, every N updates.",
    )


class ReferenceOptions(Options, panel="Reference model"):
    """The reference model, where the algorithm has one."""

    reference: str | None = Field(
        None, min_length=1, description="Directory or hub name; else the model before training."
    )
    ref_sync_every: int | None = Field(None, ge=1, description="Steps between its updates.")
    ref_sync_alpha: float = Field(1.0, gt=0, le=1, description="Share of the policy in an update.")
    precompute_reference: bool = Field(False, description="Compute it once for a data set; cached.")


class TeacherOptions(Options, panel="Teacher"):
    """The teacher, where the algorithm has one."""

    teacher: str | None = Field(
        None,
        min_length=1,
        description="Directory or hub name; policy: what is trained itself; average: the moving "
        "average of its weights.",
    )
    teacher_decay: float = Field(
        0.99, ge=0, lt=1, description="Share of the average that stays in a step."
    )


class EvaluationOptions(Options, panel="Rewards and evaluation"):
    """What is measured on held-out rows, and when."""

    eval_data: DataSets = Field(
        [], description="Held-out rows, like --data; NAME=… each where there are several."
    )
    eval_every: int = Field(50, ge=1, description="Steps between evaluations.")
    eval_samples: int = Field(1, ge=1, description="Completions of each held-out prompt.")
    eval_temperature: float | None = Field(
        None, gt=0, description="Of held-out completions; else that of training."
    )
    eval_top_p: float = Field(
        1.0, gt=0, le=1, description="Draw them from the likeliest tokens of this probability."
    )
    eval_top_k: int = Field(0, ge=0, description="Draw them from so many tokens; 1: greedily.")
    eval_stop: list[Annotated[str, Field(min_length=1)]] = Field(
        [], description="A text that ends them; scored is what stands before it."
    )


class LearnerOptions(
    DataOptions,
    SamplingOptions,
    ConversationOptions,
    StepOptions,
    OptimizerOptions,
    ReferenceOptions,
    TeacherOptions,
    CriticOptions,
):
    """What a learner reads."""

    @property
    def others(self) -> dict[str, str]:
        """The models that are named beside the policy, by what they are required as."""
        named = {"reference": self.reference, "teacher": self.teacher}
        return {role: name for role, name in named.items() if name and name not in OF_POLICY}

    @property
    def averages(self) -> bool:
        """Whether an average of the weights is wanted beside the policy."""
        return self.ema is not None or self.bema is not None


class TrainerOptions(LearnerOptions, EvaluationOptions):
    """What a trainer reads."""
