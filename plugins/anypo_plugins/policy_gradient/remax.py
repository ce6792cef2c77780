"""ReMax.

Source: Li et al. 2023, arXiv:2310.10505, algorithm 1, which follows A log pi; as in verl, a clipped
ratio allows more than one update of a rollout, and the first one is the same.
"""

from itertools import groupby
from typing import ClassVar

import torch

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.baselines import with_column
from anypo_plugins.policy_gradient.ppo import token_rewards
from anypo_plugins.policy_gradient.reinforce_pp import ReinforcePP


class ReMax(Plugin):
    """The baseline of a prompt is the reward of its greedy completion."""

    extends: ClassVar = (ReinforcePP,)
    claims: ClassVar = ("reward_shift",)

    @hookimpl
    def rollout(self, prompts, sampler, scorer):
        """y of every prompt, with b = r of the greedy completion, which is not learnt from."""
        samples = sampler.sample(prompts, self.group_size)
        samples += sampler.sample(prompts, 1, greedy=True)
        groups = groupby(scorer(prompts, sorted(samples, key=_group)), key=_group)
        return [with_column(s, baseline=greedy.reward) for _, (*own, greedy) in groups for s in own]

    @hookimpl
    def advantage(self, batch):
        """A_t = G_t - b, G_t = sum over s >= t of gamma^(s - t) r_s; [N, T]."""
        rewards = token_rewards(batch, self.kl_coef)
        no_critic = torch.zeros_like(rewards)
        _, returns = F.gae(rewards, no_critic, batch.mask, gamma=self.gamma, lam=1.0)
        return F.masked(returns - batch.baseline.unsqueeze(-1), batch.mask)


def _group(sample):
    return sample.group
