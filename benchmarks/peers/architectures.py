"""Cases of model after model, each with three trainers."""

from __future__ import annotations

from peers.case import Case
from peers.models import MODELS
from peers.on_policy import grpo

NO_POSITIONS = (
    "TRL pads prompts on the left and passes no positions, so learnt ones depend on the batch"
)
NO_GRADIENT = (
    "key biases have no gradient but rounding errors where no position turns them, and AdamW makes "
    "steps of those"
)
UNBALANCED = "the load of experts is balanced here, and not there"
KEY_BIASES = ("gpt2", "gpt_neox")  # turned by no position, or in part


def _cases(model: str) -> list[Case]:
    reason = NO_GRADIENT if model in KEY_BIASES else ""
    on_policy = NO_POSITIONS if model == "gpt2" else reason
    return [
        Case(f"{model}, sft", "sft", "sft", model=model, reason=reason),
        Case(f"{model}, dpo", "dpo", "dpo", rows="pairs", model=model, reason=reason),
        grpo(f"{model}, grpo", *TWICE, model=model, reason=on_policy),
    ]


TWICE = {"epochs": 2}, {"num_iterations": 2}
ARCHITECTURES = [case for model in MODELS if model != "mixtral" for case in _cases(model)]
ARCHITECTURES += [
    grpo(
        "gpt2, prompts of one length",
        *TWICE,
        rows="prompts of one length",
        model="gpt2",
        reason=NO_GRADIENT,
    ),
    Case(
        "mixtral, without router loss",
        "sft",
        "sft",
        {"router_loss": 0.0},
        {"router_aux_loss_coef": 0.0},
        model="mixtral",
    ),
    Case("mixtral", "sft", "sft", model="mixtral"),
    Case("mixtral, dpo", "dpo", "dpo", rows="pairs", model="mixtral"),
    Case(
        "mixtral, rewards",
        "reward",
        "reward_model",
        rows="pairs",
        model="mixtral",
        reason=UNBALANCED,
    ),
]
