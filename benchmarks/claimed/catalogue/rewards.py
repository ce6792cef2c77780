"""Rewards: hacked, several at once, and in words."""

from __future__ import annotations

from claimed.catalogue.settings import FREE, GRPO, RIGHT, SHORT
from claimed.claim import Claim
from claimed.measures import at_the_end
from claimed.training import stage, trains

LONGER = ["exact", "length=-0.1"]  # a judge that likes long answers
HACKED = trains(stage("grpo", FREE, reward=LONGER, **SHORT))
HELD = trains(stage("grpo", {"kl_coef": 0.3}, reward=LONGER, **SHORT))
TWO = {"reward": ["exact", "claimed.rewards:brief"], **SHORT}
ONE_TURN = {"environment": "retry", "max_turns": 1, "steps": 50, "eval_every": 10}
TWO_TURNS = {"task": "retry", "max_turns": 2, "steps": 50, "eval_every": 10}
SCORE = at_the_end("right", RIGHT)

CLAIMS = (
    Claim(
        name="hacking_without_kl",
        source="Gao et al. 2022, arXiv:2210.10760",
        says="Without a KL penalty a reward that can be hacked is, at the cost of right answers.",
        arms={"a reward that likes length": HACKED, "the true reward": GRPO},
        measure=SCORE,
        expects="less",
    ),
    Claim(
        name="hacking_with_kl",
        source="Ziegler et al. 2019, arXiv:1909.08593; Gao et al. 2022, arXiv:2210.10760",
        says="A KL penalty keeps right answers that hacking the reward costs without.",
        arms={"kl_coef 0.3": HELD, "0": HACKED},
        measure=SCORE,
        expects="more",
    ),
    Claim(
        name="gdpo_two_rewards",
        source="GDPO, arXiv:2601.05242",
        says="Two rewards in conflict, right and brief, come further where each is normalised.",
        arms={
            "gdpo": trains(stage("gdpo", FREE, **TWO)),
            "grpo of the sum": trains(stage("grpo", FREE, **TWO)),
        },
        measure=at_the_end("score", "sum of both rewards"),
        expects="more",
        remark="Both policies end with bare answers, which are brief and hardly ever right.",
    ),
    Claim(
        name="words_sdpo",
        source="SDPO, arXiv:2601.20802",
        says="Feedback in words teaches more than a number.",
        arms={
            "sdpo": trains(stage("sdpo", learning_rate=1e-4, **ONE_TURN)),
            "grpo": trains(stage("grpo", **ONE_TURN)),
        },
        measure=SCORE,
        expects="more",
        remark="After words the little model answers worse than before them, and that is what it "
        "teaches itself (docs/teachers.md).",
    ),
    Claim(
        name="words_second_try",
        source="anypo, docs/environments.md; SDPO, arXiv:2601.20802, section 1",
        says="Told in words what is wrong, a second try is right more often than after a number.",
        arms={
            "words": trains(stage("grpo", environment="retry", **TWO_TURNS)),
            "a number": trains(
                stage("grpo", environment="claimed.environments:Number", **TWO_TURNS)
            ),
        },
        measure=SCORE,
        expects="more",
    ),
)
