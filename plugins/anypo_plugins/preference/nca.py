"""Noise contrastive alignment: NCA on pairs, InfoNCA on rewarded completions.

Source: Chen et al. 2024, arXiv:2402.05369. TRL has NCA as `nca_pair`. The paper's K completions are
given; here the policy draws them.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO
from anypo_plugins.preference.dpo import DPO


class NCA(Plugin):
    """Raises the likelihood of the chosen completion, not only its lead over the rejected one."""

    extends: ClassVar = (DPO,)

    beta: float = 0.01

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """log s(r_w) + (log s(-r_w) + log s(-r_l)) / 2, s = sigmoid, r = beta log_ratio; [N, 1]."""
        rewards = self.beta * log_ratio
        chosen = torch.where(advantages > 0, logsigmoid(rewards), 0)
        return F.pair_sum(chosen + logsigmoid(-rewards) / 2, batch.group)


class InfoNCA(Plugin):
    """Brings a softmax of implicit rewards to that of the given ones, over K completions."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("reward_shift",)
    couples: ClassVar = "group"
    task_options: ClassVar = {"addition": {"learning_rate": 5e-4}}
    task_knobs: ClassVar = {"addition": {"beta": 0.1, "group_size": 8}}

    group_size: int = Field(4, ge=2, description="Completions sampled per prompt (K).")
    kl_coef: float = 0.0
    beta: float = Field(0.01, gt=0, description="How strongly the reference holds the policy back.")
    nca_alpha: float = Field(1.0, gt=0, description="Temperature of the given rewards (alpha).")

    @hookimpl
    def advantage(self, batch):
        """A = softmax(r / alpha), over the rewards of a group; [N]."""
        return F.group_softmax(batch.rewards / self.nca_alpha, batch.group)

    @hookimpl
    def ratio(self, logprobs, batch):
        """log pi(y) / pi_ref(y), summed over the tokens; [N, 1]."""
        return F.sequence_log_ratio(logprobs, batch.ref_logprobs, batch.mask, reduce="sum")

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """K A log softmax(beta log_ratio), of a group of K that are not empty; [N, 1]."""
        group, rewards = batch.group, self.beta * log_ratio.squeeze(-1)
        rewards = rewards - F.group_max(rewards.detach(), group)
        shares = rewards - F.group_sum(rewards.exp(), group).log()
        size = F.group_sum(batch.mask.any(-1).to(rewards.dtype), group)
        return advantages * (size * shares).unsqueeze(-1)

    @hookimpl
    def weight(self, batch):
        """1 / (K |y_i|) per group: every group counts the same; [N, T]."""
        return F.group_completion_mean(batch.mask, batch.group)
