"""Names for settings of the algorithms of this family: no new formula, so no file of their own.

An alias is a plugin without stages: what it stands on, and the knobs that the paper sets.
"""

from typing import ClassVar, Literal

from anypo import Plugin


class DeepSeekR1(Plugin):
    """GRPO as in DeepSeek-R1's first stage: a KL penalty of 0.001, clipped only at a ratio of 11.

    Source: DeepSeek-AI 2025, arXiv:2501.12948, section 3.2.1 of its second version.
    """

    extends: ClassVar = ("grpo",)

    group_size: int = 16
    kl_coef: float = 0.001
    clip_low: float = 10.0
    clip_high: float = 10.0


class Intellect2(Plugin):
    """GRPO whose ratio is bounded where the advantage is negative, too (two-sided clipping).

    Source: INTELLECT-2, Prime Intellect 2025, arXiv:2505.07291, section 4.1.
    """

    extends: ClassVar = ("grpo", "dual_clip")

    group_size: int = 16
    kl_coef: float = 0.001
    dual_clip: float = 4.0


class ProRLv2(Plugin):
    """REINFORCE++-baseline with DAPO's groups and clip, a small KL penalty and icepop.

    Source: ProRL v2, Hu et al. 2025 (blog; ProRL: arXiv:2505.24864), with the values of NeMo RL's
    `prorlv2.yaml`. That completions without an end get no reward is `stop_properly` on top, and the
    reference that is set anew at times `--ref-sync-every`.
    """

    extends: ClassVar = ("dapo", "reinforce_pp_baseline", "tis")

    clip_high: float = 0.27
    kl_coef: float = 1e-4
    tis_mode: Literal["token", "sequence", "icepop"] = "icepop"
    tis_low: float = 0.5
    tis_high: float = 5.0


class SkyworkOR1(Plugin):
    """GRPO per token without a KL penalty, whose entropy has a floor (MAGIC).

    Source: Skywork-OR1, He et al. 2025, arXiv:2505.22312, equation 3.1 and table 1; the clip is
    verl's, which the authors' script leaves. Its stages are runs of longer and longer completions.
    """

    extends: ClassVar = ("dapo", "adaptive_entropy")

    clip_high: float = 0.2
