"""The stop-properly penalty, a modifier.

Source: ProRL v2, Hu et al. 2025 (blog; ProRL: arXiv:2505.24864), and OpenRLHF's
`stop_properly_penalty_coef`. A rollout that chooses by rewards, such as online_dpo's, has chosen
before: there `missing_eos_penalty` does it.
"""

from dataclasses import replace

from pydantic import Field

from anypo import Plugin, hookimpl
from anypo_plugins.modifiers.rewarded import rewarded


class StopProperly(Plugin):
    """A completion that hits the length limit loses a share of its reward, or gets a fixed one."""

    stop_coef: float = Field(
        0.0, le=1, description="The share that it keeps; below 0: the reward that it gets instead."
    )

    @hookimpl(wrapper=True)
    def rollout(self):
        """stop_coef r_i, or stop_coef where that is below 0, of truncated completions."""
        samples = rewarded((yield), "stop_properly", "changes")
        return [replace(s, reward=self._reward(s)) if s.truncated else s for s in samples]

    def _reward(self, sample):
        return self.stop_coef if self.stop_coef < 0 else self.stop_coef * sample.reward
