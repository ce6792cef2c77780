"""Entropy bonus, a modifier.

Source: PPO, Schulman et al. 2017, arXiv:1707.06347, equation 9.
"""

from pydantic import Field

from anypo import Plugin, hookimpl


class Entropy(Plugin):
    """Pays for uncertainty, so that the policy goes on exploring."""

    entropy_coef: float = Field(0.01, gt=0, description="Weight of the entropy bonus.")

    @hookimpl
    def regularizer(self, entropy):
        """-entropy_coef * H(pi(. | y_<t)); [N, T]."""
        return {"entropy": -self.entropy_coef * entropy}
