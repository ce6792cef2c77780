"""A ratio per completion."""

from __future__ import annotations

from claimed.catalogue.settings import FREE, RIGHT
from claimed.claim import Claim, Run
from claimed.measures import Measure, at_the_end, fallen
from claimed.training import stage, trains

RATIOS = {
    f"per {ratio}": Run("claimed.ratios:variance", {"ratio": ratio})
    for ratio in ("sequence", "token")
}
FAR = {"steps": 40, "eval_every": 5, "epochs": 2, "minibatches": 16}
OFF_POLICY = {
    "gspo": trains(stage("gspo", **FAR)),
    "grpo": trains(stage("grpo", FREE, **FAR)),
}

CLAIMS = (
    Claim(
        name="sequence_ratio_variance",
        source="GSPO, arXiv:2507.18071, section 4.2",
        says="For long completions the ratio of a sequence varies less than those of tokens.",
        arms=RATIOS,
        measure=at_the_end("variance", "variance of the ratio, 128 tokens"),
        expects="less",
        relative=True,
    ),
    Claim(
        name="sequence_ratio_length",
        source="GSPO, arXiv:2507.18071, section 3",
        says="As completions grow from 8 to 128 tokens, the variance of a sequence's ratio falls "
        "further than that of a token's.",
        arms=RATIOS,
        measure=Measure(
            "variance at 128 tokens, by that at 8",
            "variance",
            lambda points: points[-1][1] / points[0][1],
        ),
        expects="less",
        relative=True,
    ),
    Claim(
        name="sequence_off_policy",
        source="GSPO, arXiv:2507.18071, section 5.1",
        says="With 32 updates for each rollout GSPO ends higher than GRPO.",
        arms=OFF_POLICY,
        measure=at_the_end("right", RIGHT),
        expects="more",
    ),
    Claim(
        name="sequence_off_policy_stable",
        source="GSPO, arXiv:2507.18071, section 5.1",
        says="With 32 updates for each rollout GSPO falls back less from its best score.",
        arms=OFF_POLICY,
        measure=fallen("right", "fall from the best score"),
        expects="less",
    ),
)
