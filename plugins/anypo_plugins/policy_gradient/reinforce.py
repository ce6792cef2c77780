"""REINFORCE.

Source: Williams 1992, "Simple Statistical Gradient-Following Algorithms for Connectionist
Reinforcement Learning", with the running mean of rewards that it names as a baseline.
"""

from typing import ClassVar, Literal

from pydantic import Field

from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.rloo import RLOO


class Reinforce(Plugin):
    """One completion per prompt, compared with the mean reward of earlier steps."""

    extends: ClassVar = (RLOO,)
    claims: ClassVar = ("reward_shift",)
    task_options: ClassVar = {
        task: {"prompts_per_step": 128} for task in ("addition", "retry", "calculator")
    }

    group_size: int = Field(1, ge=1, description="Completions sampled per prompt (G).")
    loss: Literal["clipped", "reinforce"] = "reinforce"
    decay: float = Field(0.9, ge=0, lt=1, description="How slowly the mean reward follows.")

    @hookimpl
    def advantage(self, batch, state):
        """A_i = r_i - b, b the running mean of earlier steps, at first that of this one; [N]."""
        now = float(batch.rewards.double().mean())
        before = state.get("reinforce", now)
        state["reinforce"] = self.decay * before + (1 - self.decay) * now
        return batch.rewards - before
