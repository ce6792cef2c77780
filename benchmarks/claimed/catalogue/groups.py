"""Groups of completions as a baseline."""

from __future__ import annotations

from claimed.catalogue.settings import FREE, GRPO, RIGHT, SHORT
from claimed.claim import Claim, Run
from claimed.measures import at_the_end
from claimed.training import stage, trains

FEW = {"prompts_per_step": 2, "steps": 150, "eval_every": 15}
MANY = {**FEW, "prompts_per_step": 16}
FOUR = {**FREE, "group_size": 4}
FEW_GRPO = trains(stage("grpo", FOUR, **FEW))
HELD = {"kl_coef": 0.2}
GUESSING = stage("sft", rows=["guessing", 0.1], steps=100, eval_every=100)
SPARSE = {"reward": ["claimed.rewards:worked"], **SHORT}
STEPWISE = ["anypo_tasks.addition.problems:right_steps", "exact=0"]

UNLIKELY = (
    "Wrong answers are the less likely ones here, and their gradients the larger. Without a "
    "baseline a reward of 0 leaves them out; with one they count as much as right answers do."
)


def variance(name: str, when: str, steps: int, remark: str = "") -> Claim:
    """That a group lowers the variance of the gradient at a policy of so many steps."""
    arms = {
        told: Run("claimed.gradients:noise", {"baseline": baseline, "steps": steps})
        for told, baseline in (("mean of the others", "others"), ("no baseline", "none"))
    }
    return Claim(
        name=name,
        source="DeepSeekMath, arXiv:2402.03300, section 4.1; RLOO, arXiv:2402.14740, section 2",
        says=f"The group as a baseline lowers the variance of the gradient; {when}.",
        arms=arms,
        measure=at_the_end("variance", "variance of a group's gradient"),
        expects="less",
        relative=True,
        remark=remark,
    )


CLAIMS = (
    variance("group_baseline", "at first, when most answers are wrong", 0, UNLIKELY),
    variance("group_baseline_later", "later, when most answers are right", 60),
    Claim(
        name="few_samples_grpo",
        source="as GSPO, arXiv:2507.18071, section 3 says of noisy ratios",
        says="GRPO collapses with few samples per step.",
        arms={"8 completions a step": FEW_GRPO, "64": trains(stage("grpo", FOUR, **MANY))},
        measure=at_the_end("right", RIGHT),
        expects="less",
        by=0.1,
    ),
    Claim(
        name="few_samples_gspo",
        source="GSPO, arXiv:2507.18071, section 5",
        says="With few samples per step GSPO goes on learning where GRPO collapses.",
        arms={"gspo": trains(stage("gspo", {"group_size": 4}, **FEW)), "grpo": FEW_GRPO},
        measure=at_the_end("right", RIGHT),
        expects="more",
        by=0.1,
    ),
    Claim(
        name="few_samples_dapo",
        source="DAPO, arXiv:2503.14476, section 3",
        says="With few samples per step DAPO goes on learning where GRPO collapses.",
        arms={"dapo": trains(stage("dapo", {"group_size": 4}, **FEW)), "grpo": FEW_GRPO},
        measure=at_the_end("right", RIGHT),
        expects="more",
        by=0.1,
    ),
    Claim(
        name="reference_refresh",
        source="DeepSeekMath, arXiv:2402.03300, section 4.1.4",
        says="Refreshing the reference from the policy lets GRPO learn further.",
        arms={
            "refreshed every 15 steps": trains(stage("grpo", HELD, ref_sync_every=15, **SHORT)),
            "the first model": trains(stage("grpo", HELD, **SHORT)),
        },
        measure=at_the_end("right", RIGHT),
        expects="more",
    ),
    Claim(
        name="process_supervision",
        source="DeepSeekMath, arXiv:2402.03300, section 5.2.2",
        says="Rewards of steps teach more than rewards of outcomes.",
        arms={
            "grpo_process": trains(stage("grpo_process", reward=STEPWISE, **SHORT)),
            "grpo": GRPO,
        },
        measure=at_the_end("right", RIGHT),
        expects="more",
    ),
    Claim(
        name="hybrid_sparse",
        source="Hybrid GRPO, arXiv:2502.01652",
        says="Where rewards are sparse, groups with a critic learn more than groups alone.",
        arms={
            "hybrid_grpo": trains(GUESSING, stage("hybrid_grpo", **SPARSE)),
            "grpo": trains(GUESSING, stage("grpo", FREE, **SPARSE)),
        },
        measure=at_the_end("score", "rewarded completions"),
        expects="more",
    ),
)
