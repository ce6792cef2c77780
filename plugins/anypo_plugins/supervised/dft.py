"""Dynamic Fine-Tuning.

Source: Wu et al. 2025, arXiv:2508.05629, equation 9.
"""

from typing import ClassVar

from anypo import Plugin, hookimpl
from anypo_plugins.supervised.sft import SFT


class DFT(Plugin):
    """SFT in which a token counts by its probability: what the policy finds odd is not forced."""

    extends: ClassVar = (SFT,)
    claims: ClassVar = ("stop_gradient",)

    @hookimpl
    def clip(self, log_ratio, advantages, logprobs):
        """A stop_gradient(pi(y_t)) log pi(y_t); [N, T]."""
        return advantages * logprobs.detach().exp() * log_ratio
