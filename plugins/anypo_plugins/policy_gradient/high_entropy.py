"""Beyond the 80/20 rule.

Source: Wang et al. 2025, arXiv:2506.01939, equation 6 of its second version. That divides by
the number of tokens that learn; here as in TRL it is that of all, so the loss is top_entropy of it.
"""

from typing import ClassVar, Literal

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.dapo import DAPO


class HighEntropy(Plugin):
    """DAPO that learns only from the fifth of the tokens at which the policy is least certain."""

    extends: ClassVar = (DAPO,)

    top_entropy: float = Field(0.2, gt=0, le=1, description="Share of tokens to learn from (rho).")
    over: Literal["batch", "row"] = Field(
        "batch", description="Of what it is a share: of all tokens, or of each completion's."
    )

    @hookimpl
    def weight(self, batch, entropy):
        """1 / sum_i |y_i| for the share top_entropy of the highest entropy, else 0; [N, T]."""
        shape = (1, -1) if self.over == "batch" else batch.mask.shape
        mask = batch.mask.reshape(shape)
        count = (self.top_entropy * mask.sum(-1, keepdim=True).double()).ceil().long()
        kept = F.largest(entropy.reshape(shape), mask, count).view_as(batch.mask)
        return F.token_mean(batch.mask) * kept
