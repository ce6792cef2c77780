"""Preferences."""

from __future__ import annotations

from claimed.catalogue.settings import GRPO, RIGHT
from claimed.claim import Claim, Run
from claimed.measures import Measure, at_the_end
from claimed.training import stage, trains

PAIRS = {"steps": 100, "eval_every": 20}
FLIPS = (0.2, 0.4)
SCORE = at_the_end("right", RIGHT)
FEW = {"rows": ["few", 64], "steps": 150, "eval_every": 30}
BETA = {"beta": 0.1, "logps": "sum"}
NATS = Measure("margin of the log-ratios, nats", "margin", lambda points: points[-1][1] / 0.1)
DETERMINISTIC = {
    "ipo": trains(stage("ipo", BETA, **FEW)),
    "dpo": trains(stage("dpo", BETA, **FEW)),
}
IMITATED = stage("sft", **PAIRS)
UNEQUAL = {"desirable_weight": 9.0}  # as much in all as the bad ones


def noisy(algorithm: str, share: float) -> Run:
    """An algorithm on pairs of which a share is flipped, which it knows if it can."""
    knows = algorithm != "dpo"
    knobs = {"label_smoothing": share} if knows else {}
    return trains(stage(algorithm, knobs, rows=["flipped", share], **PAIRS))


def against_dpo(algorithm: str, source: str, share: float) -> Claim:
    """That an algorithm for flipped labels ends higher than DPO."""
    percent = f"{share:.0%}".replace("%", " %")
    return Claim(
        name=f"{algorithm}_{share:.0%}".removesuffix("%"),
        source=source,
        says=f"With {percent} of the labels flipped, {algorithm} ends higher than dpo.",
        arms={algorithm: noisy(algorithm, share), "dpo": noisy("dpo", share)},
        measure=SCORE,
        expects="more",
    )


CLAIMS = (
    Claim(
        name="dpo_flipped",
        source="robust DPO, arXiv:2403.00409, section 1",
        says="Flipped labels, 40 % of them, cost DPO score.",
        arms={"40 % flipped": noisy("dpo", 0.4), "none": noisy("dpo", 0.0)},
        measure=SCORE,
        expects="less",
    ),
    *(
        against_dpo("cdpo", 'Mitchell 2023, "A note on DPO with noisy preferences"', e)
        for e in FLIPS
    ),
    *(against_dpo("robust_dpo", "robust DPO, arXiv:2403.00409, section 5", e) for e in FLIPS),
    Claim(
        name="ipo_deterministic",
        source="IPO, arXiv:2310.12036, section 5",
        says="On few pairs without any doubt IPO stays closer to the reference than DPO.",
        arms=DETERMINISTIC,
        measure=NATS,
        expects="less",
        relative=True,
    ),
    Claim(
        name="ipo_deterministic_score",
        source="IPO, arXiv:2310.12036, section 5",
        says="On few pairs without any doubt IPO ends higher than DPO, which overfits.",
        arms=DETERMINISTIC,
        measure=SCORE,
        expects="more",
    ),
    Claim(
        name="orpo_one_stage",
        source="ORPO, arXiv:2403.07691, section 6",
        says="ORPO alone ends as high as SFT and then DPO, of twice the steps; at most 0.02 lower.",
        arms={
            "orpo": trains(stage("orpo", **PAIRS)),
            "sft, dpo": trains(IMITATED, stage("dpo", **PAIRS)),
        },
        measure=SCORE,
        expects="more",
        by=-0.02,
    ),
    Claim(
        name="kto_unbalanced",
        source="KTO, arXiv:2402.01306, section 4.3",
        says="With one good completion to nine bad ones KTO loses at most 0.03.",
        arms={
            "10 % good": trains(stage("kto", UNEQUAL, rows=["labelled", 0.1], **PAIRS)),
            "50 % good": trains(stage("kto", rows=["labelled", 0.5], **PAIRS)),
        },
        measure=SCORE,
        expects="more",
        by=-0.03,
    ),
    Claim(
        name="online_dpo",
        source="Guo et al. 2024, arXiv:2402.04792, section 4",
        says="DPO on pairs of its own completions ends higher than on given ones.",
        arms={
            "online, 60 steps": trains(stage("online_dpo", steps=60, eval_every=10)),
            "offline, 100 steps": noisy("dpo", 0.0),
        },
        measure=SCORE,
        expects="more",
    ),
    Claim(
        name="dpo_warm_up",
        source="as in Tülu 3, arXiv:2411.15124, section 6",
        says="DPO before GRPO ends higher than GRPO alone for as many seconds.",
        arms={
            "dpo, 100 steps; grpo, 45 steps": trains(
                stage("dpo", **{**PAIRS, "eval_every": 100}),
                stage("grpo", steps=45, eval_every=15),
            ),
            "grpo, 60 steps": GRPO,
        },
        measure=SCORE,
        expects="more",
    ),
)
