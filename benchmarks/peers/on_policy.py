"""Cases of learning from the policy's own completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from peers.case import LORA, Case

EPSILON = "beside the standard deviation stands 1e-6 here and 1e-4 there"
BATCH_MEAN = "token means are per minibatch here and per generation batch there"
MASKED = "masked completions are left out of means here, and count as 0 there"
TOKEN_BONUS = "the entropy is weighed like the gain here, and averaged over tokens there"
SEQUENCE_KL = "the penalty is weighed by the ratio of the token here, of the sequence there"
MICRO_MEAN = "token means are per minibatch here and per micro-batch there"
HEATED = "the temperature is of the loss, too, here, and of the sampler alone there"
TIES = "two completions with the same score are no pair here, and a pair in the order drawn there"

FAST = {"learning_rate": 5e-3}  # so that ratios leave the clip range
Fields = Mapping[str, Any]


def grpo(name: str, ours: Fields, theirs: Fields, algorithm: str = "grpo", **more: Any) -> Case:
    """A case of TRL's GRPO trainer: four completions of every prompt, and no KL penalty."""
    both = {"kl_coef": 0.0, "group_size": 4, **ours}, {"loss_type": "grpo", **theirs}
    return Case(name, "grpo", algorithm, *both, **{"rows": "prompts", **more})


REUSED = {"epochs": 2, "minibatches": 2, **FAST}
REUSED_THERE = {"num_iterations": 2, "steps_per_generation": 2, "parts": 2, **FAST}
KL = {"kl_coef": 0.1, **REUSED}
KL_THERE = {"beta": 0.1, **REUSED_THERE}
VLLM = {"vllm": True, "vllm_importance_sampling_clip_max": 2.0}
GRPO = [
    grpo("GRPO", {}, {}),
    grpo("GRPO, conversational prompts", {}, {}, rows="asked"),
    grpo("GRPO, minibatches", {"minibatches": 2}, {"steps_per_generation": 2, "parts": 2}),
    grpo("GRPO, iterations", {"epochs": 2, **FAST}, {"num_iterations": 2, **FAST}),
    grpo("GRPO, iterations and minibatches", REUSED, REUSED_THERE),
    grpo(
        "GRPO, micro-batches",
        {"token_budget": 100},
        {"steps_per_generation": 2, "gradient_accumulation_steps": 2, "parts": 2},
    ),
    grpo(
        "GRPO, asymmetric clip",
        {"clip_low": 0.1, "clip_high": 0.3, **REUSED},
        {"epsilon": 0.1, "epsilon_high": 0.3, **REUSED_THERE},
    ),
    grpo("GRPO, temperature", {"temperature": 0.7, **REUSED}, {"temperature": 0.7, **REUSED_THERE}),
    grpo("GRPO, naive KL gradient", KL, {**KL_THERE, "use_bias_correction_kl": False}),
    grpo("GRPO, bias-corrected KL gradient", {**KL, "kl_gradient": "ratio"}, KL_THERE),
    grpo(
        "GRPO, moving reference",
        {**KL, "ref_sync_every": 1, "ref_sync_alpha": 0.6, "epochs": 1, "minibatches": 1},
        {
            "beta": 0.1,
            "use_bias_correction_kl": False,
            **FAST,
            **{"sync_ref_model": True, "ref_model_sync_steps": 1, "ref_model_mixup_alpha": 0.6},
        },
    ),
    grpo("GRPO, rewards about 1", {}, {}, rewards=("small",), reason=EPSILON),
    grpo("GRPO, rewards about 1, 1e-4 by a plugin", {}, {}, "grpo+like_trl", rewards=("small",)),
    grpo(
        "GRPO, unscaled rewards",
        REUSED,
        {**REUSED_THERE, "scale_rewards": "none"},
        hooks={"advantage": "dr_grpo"},
        rewards=("small",),
    ),
    grpo("GRPO, two rewards", REUSED, REUSED_THERE, rewards=("score", "other")),
    grpo("GRPO, adapters", {**KL, **LORA}, {**KL_THERE, "use_bias_correction_kl": False, **LORA}),
    grpo(
        "dual clip", {"dual_clip": 1.5, **REUSED}, {"delta": 1.5, **REUSED_THERE}, "grpo+dual_clip"
    ),
    grpo(
        "BNPO (a token mean)",
        REUSED,
        {"loss_type": "bnpo", **REUSED_THERE},
        hooks={"weight": "dapo"},
    ),
    grpo(
        "entropy bonus",
        {"entropy_coef": 0.05, **REUSED},
        {"loss_type": "bnpo", "entropy_coef": 0.05, **REUSED_THERE},
        "grpo+entropy",
        hooks={"weight": "dapo"},
    ),
    grpo(
        "Dr.GRPO",
        REUSED,
        {"loss_type": "dr_grpo", "scale_rewards": "none", **REUSED_THERE},
        "dr_grpo",
        rewards=("small",),
    ),
    grpo(
        "DAPO",
        {"filter_groups": False, "clip_high": 0.28, "epochs": 2, **FAST},
        {"loss_type": "dapo", "epsilon_high": 0.28, "num_iterations": 2, **FAST},
        "dapo",
    ),
    grpo(
        "DAPO, minibatches",
        {"filter_groups": False, "clip_high": 0.28, **REUSED},
        {"loss_type": "dapo", "epsilon_high": 0.28, **REUSED_THERE},
        "dapo",
        reason=BATCH_MEAN,
    ),
    grpo(
        "DAPO, truncated completions masked",
        {"filter_groups": False, "mask_truncated": True},
        {"loss_type": "dapo", "mask_truncated_completions": True},
        "dapo",
    ),
    grpo(
        "GRPO, truncated completions masked",
        {"filter_groups": False, "mask_truncated": True},
        {"mask_truncated_completions": True},
        hooks={"rollout": "dapo"},
        reason=MASKED,
    ),
    grpo(
        "GSPO, bias-corrected KL gradient",
        {**KL, "clip_low": 0.1, "clip_high": 0.2, "kl_gradient": "ratio"},
        {"importance_sampling_level": "sequence", "epsilon": 0.1, **KL_THERE},
        "gspo",
        reason=SEQUENCE_KL,
    ),
    grpo(
        "entropy bonus, means per completion",
        {"entropy_coef": 0.05, **REUSED},
        {"entropy_coef": 0.05, **REUSED_THERE},
        "grpo+entropy",
        reason=TOKEN_BONUS,
    ),
    grpo(
        "BNPO, micro-batches",
        {"token_budget": 100},
        {
            "loss_type": "bnpo",
            **{"steps_per_generation": 2, "gradient_accumulation_steps": 2, "parts": 2},
        },
        hooks={"weight": "dapo"},
        reason=MICRO_MEAN,
    ),
    grpo(
        "CISPO",
        {"cap": 1.2, "epochs": 2, **FAST},
        {"loss_type": "cispo", "epsilon_high": 1.2, "num_iterations": 2, **FAST},
        "cispo",
    ),
    grpo(
        "CISPO, minibatches",
        {"cap": 1.2, **REUSED},
        {"loss_type": "cispo", "epsilon_high": 1.2, **REUSED_THERE},
        "cispo",
        reason=BATCH_MEAN,
    ),
    grpo("SAPO", REUSED, {"loss_type": "sapo", **REUSED_THERE}, "sapo"),
    *(
        grpo(
            f"{name}, a ratio per sequence",
            {"clip_low": 0.1, "clip_high": 0.2, **REUSED},
            {
                "importance_sampling_level": "sequence",
                "epsilon": 0.1,
                "epsilon_high": 0.2,
                **REUSED_THERE,
            },
            algorithm,
        )
        for name, algorithm in (("GSPO", "gspo"), ("GSPO-token", "gspo_token"))
    ),
    grpo(
        "GDPO",
        {},
        {"multi_objective_aggregation": "normalize_then_sum"},
        "gdpo",
        rewards=("small", "other"),
        reason=EPSILON,
    ),
    grpo(
        "TIS per token",
        REUSED,
        {**VLLM, "vllm_importance_sampling_mode": "token_truncate", **REUSED_THERE},
        "grpo+tis",
    ),
    grpo(
        "TIS per sequence",
        {"tis_mode": "sequence", **REUSED},
        {**VLLM, "vllm_importance_sampling_mode": "sequence_truncate", **REUSED_THERE},
        "grpo+tis",
    ),
    grpo(
        "icepop",
        {"tis_mode": "icepop", **REUSED},
        {
            **VLLM,
            "vllm_importance_sampling_mode": "token_mask",
            "vllm_importance_sampling_clip_min": 0.5,
            **REUSED_THERE,
        },
        "grpo+tis",
    ),
]


def rloo(name: str, ours: Fields, theirs: Fields, **more: Any) -> Case:
    """A case of TRL's RLOO trainer."""
    both = {"group_size": 4, **ours}, theirs
    return Case(name, "rloo", "rloo", *both, **{"rows": "prompts", "rewards": ("small",), **more})


RLOO = [
    rloo("RLOO", {}, {}),
    rloo("RLOO, conversational prompts", {}, {}, rows="asked"),
    rloo("RLOO, no KL", {"kl_coef": 0.0}, {"beta": 0.0}),
    rloo("RLOO, KL 0.5", {"kl_coef": 0.5, **FAST}, {"beta": 0.5, **FAST}),
    rloo("RLOO, iterations and minibatches", REUSED, REUSED_THERE),
    rloo(
        "RLOO, asymmetric clip",
        {"clip_low": 0.1, "clip_high": 0.3, **REUSED},
        {"epsilon": 0.1, "epsilon_high": 0.3, **REUSED_THERE},
    ),
    rloo("RLOO, temperature", {"temperature": 0.7, **REUSED}, {"temperature": 0.7, **REUSED_THERE}),
    rloo("RLOO, adapters", LORA, LORA),
]


def online(name: str, ours: Fields, theirs: Fields, **more: Any) -> Case:
    """A case of TRL's online DPO trainer, at temperature 1."""
    both = {"ties": "first", **ours}, {"temperature": 1.0, **theirs}
    return Case(name, "online_dpo", "online_dpo", *both, **{"rows": "prompts", **more})


ONLINE = [
    online("online DPO", {}, {}),
    online("online DPO, conversational prompts", {}, {}, rows="asked"),
    online("online DPO, beta 0.5", {"beta": 0.5}, {"beta": [0.5]}),
    online(
        "online DPO, penalty without end",
        {"missing_eos_penalty": 900.0},
        {"missing_eos_penalty": 900.0},
    ),
    online("online IPO", {"logps": "sum"}, {"loss_type": "ipo"}, hooks={"clip": "ipo"}),
    online("online DPO, adapters", LORA, LORA),
    online("online DPO, temperature", {"temperature": 0.7}, {"temperature": 0.7}, reason=HEATED),
    online("online DPO, ties", {"ties": "drop"}, {}, reason=TIES),
]
ON_POLICY = [*GRPO, *RLOO, *ONLINE]
