"""Contrastive Preference Optimization.

Source: Xu et al. 2024, arXiv:2401.08417, equation 3. The likelihood of chosen completions is, as in
TRL, a mean over their tokens.
"""

from typing import ClassVar

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.dpo import DPO


class CPO(Plugin):
    """DPO without a reference, and SFT on the chosen completions."""

    extends: ClassVar = (DPO,)
    task_options: ClassVar = {"addition": {"learning_rate": 5e-4}}
    task_knobs: ClassVar = {"addition": {"beta": 0.1}}

    sft_coef: float = 1.0

    @hookimpl
    def ratio(self, logprobs, batch):
        """log pi(y), the sum or mean over the tokens; [N, 1]."""
        if self.logps == "mean":
            return F.mean_logprob(logprobs, batch.mask)
        return F.masked(logprobs, batch.mask).sum(-1, keepdim=True)
