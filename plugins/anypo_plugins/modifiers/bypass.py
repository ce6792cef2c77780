"""Bypass mode, a modifier.

Source: verl's rollout correction, `bypass_mode`: the two policies of PPO, Schulman et al. 2017,
arXiv:1707.06347, with the sampler's as the old one. `tis` above it has nothing to correct, and
`mismatch/…` nothing to tell: the trainer is not asked.
"""

from anypo import Plugin, hookimpl


class Bypass(Plugin):
    """Takes the sampler at its word: ratios are to what it reported, not to the trainer's."""

    @hookimpl(wrapper=True)
    def advantage(self, batch):
        """What it is; and log pi_old := log pi_sampler for all stages after it; [N, T]."""
        answer = yield
        others = answer if isinstance(answer, dict) else {"advantages": answer}
        return {**others, "old_logprobs": batch.sampler_logprobs}
