"""Cases of learning from given completions."""

from __future__ import annotations

from peers.case import LORA, Case

PROMPT_TOO = (
    "the likelihood term is that of the chosen completion here, of prompt and completion there"
)
PAIRING = "z0 is estimated with the completion of the next row here, of the one before there"
CLOSING = "what a template puts after the end token is never sampled, so it is not learnt here"

ACCUMULATED = {"gradient_accumulation_steps": 2, "parts": 2}

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
    Case("weight decay", "sft", "sft", {"weight_decay": 0.5}, {"weight_decay": 0.5}),
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
    Case(
        "KTO, adapters",
        "kto",
        "kto",
        {"beta": 0.5, **LORA},
        {"beta": 0.5, **LORA, "backwards": True},
        "labels",
    ),
    Case("KTO", "kto", "kto", rows="labels", reason=PAIRING),
]
OFFLINE = [*SFT, *OPTIMIZER, *PAIRS, *REWARD_MODELS, *KTO]
