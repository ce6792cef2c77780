"""DAPO and its parts.

All with 8 completions of a prompt, and 8 updates for each rollout, so that ratios reach the clip.
Where DAPO is to weigh tokens as GRPO does, `gspo` lends its weights, which are the same.
"""

from __future__ import annotations

from claimed.catalogue.settings import FREE, RIGHT, SHORT
from claimed.claim import Claim
from claimed.measures import at_the_end, lately
from claimed.training import stage, trains

MOVING = {**SHORT, "epochs": 2, "minibatches": 4}
PLAIN = trains(stage("grpo", FREE, **MOVING))
HIGHER = trains(stage("grpo", {**FREE, "clip_high": 0.28}, **MOVING))
FILTERED = trains(
    stage("dapo", {"group_size": 8, "clip_high": 0.2}, hooks={"weight": "gspo"}, **MOVING)
)
BY_TOKEN = trains(stage("grpo", FREE, hooks={"weight": "dapo"}, **MOVING))
HALF = trains(stage("dapo", {"group_size": 8}, **{**MOVING, "steps": 30}))
SOURCE = "DAPO, arXiv:2503.14476, table 1"
SCORE = at_the_end("right", RIGHT)

CLAIMS = (
    Claim(
        name="dapo_half_the_steps",
        source="DAPO, arXiv:2503.14476, figure 1",
        says="DAPO reaches GRPO's score in half of the steps; at most 0.02 may be lacking.",
        arms={"dapo, 30 steps": HALF, "grpo, 60 steps": PLAIN},
        measure=SCORE,
        expects="more",
        by=-0.02,
    ),
    Claim(
        name="dapo_clip_higher",
        source=SOURCE,
        says="A higher upper clip alone raises GRPO's score.",
        arms={"clip_high 0.28": HIGHER, "0.2": PLAIN},
        measure=SCORE,
        expects="more",
    ),
    Claim(
        name="dapo_dynamic_sampling",
        source=SOURCE,
        says="Dynamic sampling alone raises GRPO's score.",
        arms={"unequal groups only": FILTERED, "all groups": PLAIN},
        measure=SCORE,
        expects="more",
    ),
    Claim(
        name="dapo_token_level",
        source=SOURCE,
        says="A loss in which every token counts the same alone raises GRPO's score.",
        arms={"by token": BY_TOKEN, "by completion": PLAIN},
        measure=SCORE,
        expects="more",
    ),
    Claim(
        name="clip_higher_entropy",
        source="DAPO, arXiv:2503.14476, section 3.1",
        says="A higher upper clip keeps the policy's entropy up.",
        arms={"clip_high 0.28": HIGHER, "0.2": PLAIN},
        measure=lately("entropy", "entropy, last third"),
        expects="more",
    ),
)
