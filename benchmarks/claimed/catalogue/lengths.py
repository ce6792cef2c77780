"""The length of completions.

The policy has learnt from completions that work a sum out one to four times, right as often for
each; the longest are cut at the limit.
"""

from __future__ import annotations

from typing import Any

from claimed.catalogue.settings import FREE, RIGHT
from claimed.claim import Claim, Run
from claimed.measures import at_the_end, lately
from claimed.training import stage, trains

LONG = {"max_completion_length": 64, "steps": 40, "eval_every": 8}
RAMBLING = stage("sft", rows=["rambling"], steps=150, eval_every=150, max_completion_length=80)
SIXTEEN = {**FREE, "group_size": 16, "keep": 8}


def after_rambling(algorithm: str, knobs: dict[str, Any], **how: Any) -> Run:
    """An algorithm that goes on with the rambling policy."""
    return trains(RAMBLING, stage(algorithm, knobs, **how, **LONG))


GRPO = after_rambling("grpo", FREE)
EFFICIENT = after_rambling("gfpo", SIXTEEN)
SHORTEST = after_rambling("gfpo", {**SIXTEEN, "metric": "shortest"})
ADAPTIVE = {"adaptive": True, "adaptive_warmup": 5, "keep_very_hard": 12, "keep_hard": 10}
PUNISHED = {"filter_groups": False, "clip_high": 0.2, "group_size": 8, "overlong_cache": 16}
WRONG = lately("length of wrong answers", "tokens of a wrong answer, last third")
TOKENS = lately("length", "tokens of a completion, last third")
SCORE = at_the_end("right", RIGHT)
EQUAL = (
    "Where 8 of 16 completions are right, all that are kept are: their rewards are equal, and the "
    "prompt teaches nothing, neither to be right nor to be brief. So it learns more slowly."
)

CLAIMS = (
    Claim(
        name="token_level_wrong_length",
        source="DAPO, arXiv:2503.14476, section 3.3",
        says="A loss in which every token counts the same keeps wrong answers shorter.",
        arms={"by token": after_rambling("grpo", FREE, hooks={"weight": "dapo"}), "grpo": GRPO},
        measure=WRONG,
        expects="less",
        relative=True,
    ),
    Claim(
        name="dr_grpo_wrong_length",
        source="Dr.GRPO, arXiv:2503.20783, section 3.1",
        says="Without GRPO's two biases wrong answers do not grow as long.",
        arms={"dr_grpo": after_rambling("dr_grpo", {}), "grpo": GRPO},
        measure=WRONG,
        expects="less",
        relative=True,
    ),
    Claim(
        name="dapo_overlong",
        source="DAPO, arXiv:2503.14476, section 3.4, table 1",
        says="Punishing completions that come close to the limit alone raises GRPO's score.",
        arms={
            "punished from 48 tokens on": after_rambling(
                "dapo", PUNISHED, hooks={"weight": "gspo"}
            ),
            "grpo": GRPO,
        },
        measure=SCORE,
        expects="more",
    ),
    Claim(
        name="gfpo_tokens",
        source="GFPO, arXiv:2508.09726, section 5",
        says="Learning from the most efficient 8 of 16 completions makes them shorter.",
        arms={"gfpo": EFFICIENT, "grpo": GRPO},
        measure=TOKENS,
        expects="less",
        relative=True,
        remark=EQUAL,
    ),
    Claim(
        name="gfpo_score",
        source="GFPO, arXiv:2508.09726, section 5",
        says="Learning from the most efficient 8 of 16 completions costs no score; at most 0.03.",
        arms={"gfpo": EFFICIENT, "grpo": GRPO},
        measure=SCORE,
        expects="more",
        by=-0.03,
        remark=EQUAL,
    ),
    Claim(
        name="gfpo_efficiency_tokens",
        source="GFPO, arXiv:2508.09726, section 5.3",
        says="Reward per token as what ranks a group shortens more than length itself does.",
        arms={"token efficiency": EFFICIENT, "shortest": SHORTEST},
        measure=TOKENS,
        expects="less",
        relative=True,
        remark=EQUAL,
    ),
    Claim(
        name="gfpo_adaptive",
        source="GFPO, arXiv:2508.09726, section 3.3",
        says="Keeping more completions of hard prompts beats keeping 8 of each.",
        arms={
            "adaptive, 4 to 12": after_rambling("gfpo", {**SIXTEEN, **ADAPTIVE}),
            "token efficiency": EFFICIENT,
        },
        measure=SCORE,
        expects="more",
    ),
)
