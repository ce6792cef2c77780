"""GSPO-token, the form of GSPO for an advantage per token.

Source: Zheng et al. 2025, arXiv:2507.18071, section 4.3.
"""

from typing import ClassVar

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.gspo import GSPO


class GSPOToken(Plugin):
    """GSPO whose ratio has the sequence's value and the token's gradient."""

    extends: ClassVar = (GSPO,)
    claims: ClassVar = ("stop_gradient",)

    @hookimpl
    def ratio(self, logprobs, batch):
        """log s_it = stop_gradient(log s_i - log pi(y_t)) + log pi(y_t); [N, T]."""
        frozen = logprobs.detach()
        sequence = F.sequence_log_ratio(frozen, batch.old_logprobs, batch.mask)
        return sequence + (logprobs - frozen)
