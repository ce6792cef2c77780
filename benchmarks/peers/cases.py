"""Every comparison: what both libraries are given, and why they differ where they do."""

from __future__ import annotations

from peers.case import Case
from peers.models import MODELS

EPSILON = "beside the standard deviation stands 1e-6 here and 1e-4 there"
BATCH_MEAN = "token means are per minibatch here and per generation batch there"
PROMPT_TOO = (
    "the likelihood term is that of the chosen completion here, of prompt and completion there"
)
PAIRING = "z0 is estimated with the completion of the next row here, of the one before there"
TIES = "two completions with the same score are no pair here, and a pair in the order drawn there"

CLOSING = "what a template puts after the end token is never sampled, so it is not learnt here"
DECAY = "weight decay is of norms and biases too"
ROUTER = "mixtures of experts learn without their load-balancing loss"
CUT = "a reward model scores a text without what the template puts after the end token"

LORA = {"lora_rank": 4, "lora_alpha": 8}
FAST = {"learning_rate": 5e-3}  # so that ratios leave the clip range
GRPO = {"kl_coef": 0.0, "group_size": 4}
BY_ROW = {"loss_type": "grpo"}
ACCUMULATED = {"gradient_accumulation_steps": 2, "parts": 2}

OPTIMIZER = [
    Case("clipped gradients", "sft", "sft", {"max_grad_norm": 0.1}, {"max_grad_norm": 0.1}),
    Case(
        "linear schedule with warm-up",
        "sft",
        "sft",
        {"schedule": "linear", "warmup_steps": 2},
        {"lr_scheduler_type": "linear", "warmup_steps": 2},
    ),
    Case("cosine schedule", "sft", "sft", {"schedule": "cosine"}, {"lr_scheduler_type": "cosine"}),
    Case("weight decay", "sft", "sft", {"weight_decay": 0.5}, {"weight_decay": 0.5}, defect=DECAY),
]
NO_POSITIONS = (
    "TRL pads prompts on the left and passes no positions, so learnt ones depend on the batch"
)
NO_GRADIENT = (
    "key biases have no gradient but rounding errors where no position turns them, and AdamW makes "
    "steps of those"
)
WHY = {("gpt2", "grpo"): NO_POSITIONS}
WHY |= {(model, "sft"): NO_GRADIENT for model in ("gpt2", "gpt_neox")}
WHY |= {(model, "dpo"): NO_GRADIENT for model in ("gpt2", "gpt_neox")}
WHY |= {("gpt_neox", "grpo"): NO_GRADIENT}
ARCHITECTURES = [
    Case(
        f"{model}, {family}",
        family,
        algorithm,
        ours,
        theirs,
        rows,
        model,
        reason=WHY.get((model, family), ""),
    )
    for model in MODELS
    if model != "mixtral"
    for family, algorithm, ours, theirs, rows in (
        ("sft", "sft", {}, {}, "texts"),
        ("dpo", "dpo", {}, {}, "pairs"),
        ("grpo", "grpo", {**GRPO, "epochs": 2}, {**BY_ROW, "num_iterations": 2}, "prompts"),
    )
]
ARCHITECTURES += [
    Case(
        "gpt2, prompts of one length",
        "grpo",
        "grpo",
        {**GRPO, "epochs": 2},
        {**BY_ROW, "num_iterations": 2},
        "prompts of one length",
        "gpt2",
        reason=NO_GRADIENT,
    ),
    Case(
        "mixtral, without router loss",
        "sft",
        "sft",
        {},
        {"router_aux_loss_coef": 0.0},
        "texts",
        "mixtral",
    ),
    Case("mixtral", "sft", "sft", {}, {}, "texts", "mixtral", defect=ROUTER),
]
SFT = [
    Case("prompts and completions", "sft", "sft"),
    Case("whole texts", "sft", "sft", rows="plain"),
    Case("conversations of one turn", "sft", "sft", {}, {"assistant_only_loss": True}, "chats"),
    Case("longer conversations", "sft", "sft", {}, {"assistant_only_loss": True}, "long chats"),
    Case("conversational prompts and completions", "sft", "sft", rows="answers"),
    Case(
        "conversations, lines after ends",
        "sft",
        "sft",
        rows="answers",
        template="lines",
        reason=CLOSING,
    ),
    Case("micro-batches", "sft", "sft", {"token_budget": 64}, ACCUMULATED),
    Case("adapters", "sft", "sft", LORA, LORA),
]
PAIRS = [
    Case("DPO", "dpo", "dpo", rows="pairs"),
    Case("DPO, beta 0.5", "dpo", "dpo", {"beta": 0.5}, {"beta": 0.5}, "pairs"),
    Case("DPO, conversations", "dpo", "dpo", rows="chat pairs"),
    Case(
        "DPO, lines after ends", "dpo", "dpo", rows="chat pairs", template="lines", reason=CLOSING
    ),
    Case("DPO, prompts to be found", "dpo", "dpo", rows="implicit pairs"),
    Case("DPO, micro-batches", "dpo", "dpo", {"token_budget": 64}, ACCUMULATED, "pairs"),
    Case(
        "DPO, reference computed before",
        "dpo",
        "dpo",
        {"precompute_reference": True},
        {"precompute_ref_log_probs": True},
        "pairs",
    ),
    Case(
        "DPO, moving reference",
        "dpo",
        "dpo",
        {"ref_sync_every": 1, "ref_sync_alpha": 0.6},
        {"sync_ref_model": True, "ref_model_sync_steps": 1, "ref_model_mixup_alpha": 0.6},
        "pairs",
    ),
    Case("DPO, adapters", "dpo", "dpo", LORA, LORA, "pairs"),
    Case(
        "DPO, length-normalised",
        "dpo",
        "dpo",
        {"logps": "mean"},
        {"loss_type": ["sigmoid_norm"]},
        "pairs",
    ),
    Case(
        "DPO with a likelihood term",
        "dpo",
        "dpo",
        {"sft_coef": 0.3},
        {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.3]},
        "pairs",
    ),
    Case("IPO", "dpo", "ipo", {}, {"loss_type": ["ipo"]}, "pairs"),
    Case(
        "IPO, beta 0.02",
        "dpo",
        "ipo",
        {"beta": 0.02},
        {"loss_type": ["ipo"], "beta": 0.02},
        "pairs",
    ),
    Case(
        "robust DPO",
        "dpo",
        "robust_dpo",
        {"label_smoothing": 0.2},
        {"loss_type": ["robust"], "label_smoothing": 0.2},
        "pairs",
    ),
    Case(
        "cDPO (AOT of one pair)",
        "dpo",
        "cdpo",
        {"label_smoothing": 0.2},
        {
            "loss_type": ["aot"],
            "label_smoothing": 0.2,
            "gradient_accumulation_steps": 8,
            "parts": 8,
        },
        "pairs",
    ),
    Case("ORPO, prompts of one token", "orpo", "orpo", rows="letters"),
    Case("ORPO, beta 0.5", "orpo", "orpo", {"beta": 0.5}, {"beta": 0.5}, "letters"),
    Case("ORPO, adapters", "orpo", "orpo", LORA, LORA, "letters"),
    Case("ORPO", "orpo", "orpo", rows="pairs", reason=PROMPT_TOO),
]
REWARD_MODELS = [
    Case("reward model", "reward", "reward_model", rows="pairs"),
    Case("reward model, conversations", "reward", "reward_model", rows="chat pairs"),
    Case(
        "reward model, lines after ends",
        "reward",
        "reward_model",
        rows="chat pairs",
        template="lines",
        defect=CUT,
    ),
    Case("reward model, prompts to be found", "reward", "reward_model", rows="implicit pairs"),
    Case("reward model, margins", "reward", "reward_model", {"margin": True}, {}, "margins"),
    Case(
        "reward model, centred",
        "reward",
        "reward_model",
        {"center_coef": 0.05},
        {"center_rewards_coefficient": 0.05},
        "pairs",
    ),
    Case("reward model, adapters", "reward", "reward_model", LORA, LORA, "pairs"),
    Case("reward model, qwen2", "reward", "reward_model", {}, {}, "pairs", "qwen2"),
]
KTO = [
    Case("KTO, rows of TRL backwards", "kto", "kto", {}, {"backwards": True}, "labels"),
    Case("KTO, beta 0.5", "kto", "kto", {"beta": 0.5}, {"beta": 0.5, "backwards": True}, "labels"),
    Case(
        "KTO, weights",
        "kto",
        "kto",
        {"desirable_weight": 0.7, "undesirable_weight": 1.5},
        {"desirable_weight": 0.7, "undesirable_weight": 1.5, "backwards": True},
        "labels",
    ),
    Case("KTO, adapters", "kto", "kto", LORA, {**LORA, "backwards": True}, "labels"),
    Case("KTO", "kto", "kto", rows="labels", reason=PAIRING),
]


def grpo(name, ours, theirs, algorithm="grpo", **more):
    """A case of TRL's GRPO trainer: four completions of every prompt, and no KL penalty."""
    both = {**GRPO, **ours}, {**BY_ROW, **theirs}
    return Case(name, "grpo", algorithm, *both, **{"rows": "prompts", **more})


REUSED = {"epochs": 2, "minibatches": 2, **FAST}
REUSED_THERE = {"num_iterations": 2, "steps_per_generation": 2, "parts": 2, **FAST}
KL = {"kl_coef": 0.1, **REUSED}
KL_THERE = {"beta": 0.1, **REUSED_THERE}
VLLM = {"vllm": True, "vllm_importance_sampling_clip_max": 2.0}
ON_POLICY = [
    grpo("GRPO", {}, {}),
    grpo("GRPO, conversational prompts", {}, {}, rows="asked"),
    grpo("GRPO, minibatches", {"minibatches": 2}, {"steps_per_generation": 2, "parts": 2}),
    grpo("GRPO, iterations", {"epochs": 2, **FAST}, {"num_iterations": 2, **FAST}),
    grpo("GRPO, iterations and minibatches", REUSED, REUSED_THERE),
    grpo("GRPO, micro-batches", {"token_budget": 100}, {"steps_per_generation": 2, **ACCUMULATED}),
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


def rloo(name, ours, theirs, **more):
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


def online(name, ours, theirs, **more):
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
    online("online DPO, ties", {"ties": "drop"}, {}, reason=TIES),
]
CASES = [
    *SFT,
    *OPTIMIZER,
    *PAIRS,
    *REWARD_MODELS,
    *KTO,
    *ON_POLICY,
    *RLOO,
    *ONLINE,
    *ARCHITECTURES,
]
