"""Names for settings of the algorithms of this family: no new formula, so no file of their own.

An alias is a plugin without stages: what it stands on, and the knobs that the paper sets.
"""

from typing import ClassVar, Literal

from anypo import Plugin


class IterativeRPO(Plugin):
    """DPO that also learns to write the chosen completions.

    Iterations are a pipeline: sample, make pairs, learn, and again.

    Source: Pang et al. 2024, arXiv:2404.19733, equation 1. The paper divides the likelihood of a
    completion by its length; here every chosen token counts the same, as in TRL.
    """

    extends: ClassVar = ("dpo",)

    sft_coef: float = 1.0


class Tulu3DPO(Plugin):
    """DPO of mean log-ratios, so that long completions have no larger margins.

    Source: Tulu 3, Lambert et al. 2024, arXiv:2411.15124, section 5.1.
    """

    extends: ClassVar = ("dpo",)

    beta: float = 5.0
    logps: Literal["sum", "mean"] = "mean"
