"""Names for settings of the algorithms of this family: no new formula, so no file of their own.

An alias is a plugin without stages: what it stands on, and the knobs that the paper sets.
"""

from typing import ClassVar

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
