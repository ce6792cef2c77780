"""Every comparison."""

from __future__ import annotations

from peers.case import Case

CASES = [
    Case("texts", "sft", "sft"),
    Case("GRPO", "grpo", "grpo", {"kl_coef": 0.0, "group_size": 4}, {"loss_type": "grpo"}, "prompts"),
    Case("DPO", "dpo", "dpo", rows="pairs"),
    Case("RM", "reward", "reward_model", rows="pairs"),
    Case("KTO", "kto", "kto", rows="labels"),
    Case("ORPO", "orpo", "orpo", rows="letters"),
    Case("RLOO", "rloo", "rloo", {}, {}, "prompts"),
    Case("online DPO", "online_dpo", "online_dpo", {}, {"temperature":1.0}, "prompts"),
]
