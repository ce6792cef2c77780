"""What the kit puts below a plugin that is no algorithm by itself."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from anypo import functional as F
from anypo.hooks.batch import Batch, Prompt, Sample
from anypo.hooks.plugin import Plugin
from anypo.hooks.rollout import Sampler, Scorer, sample_groups
from anypo.hooks.specs import hookimpl


class NeutralBase(Plugin):
    """A policy gradient with the mean of the group as baseline, and nothing else."""

    @hookimpl
    def rollout(self, prompts: Sequence[Prompt], sampler: Sampler, scorer: Scorer) -> list[Sample]:
        """Four completions of every prompt, each with its reward."""
        return sample_groups(prompts, sampler, scorer, 4)

    @hookimpl
    def advantage(self, batch: Batch) -> Tensor:
        """A_i = r_i - mean(r), over the rewards of a group; [N]."""
        return batch.rewards - F.group_mean(batch.rewards, batch.group)

    @hookimpl
    def ratio(self, logprobs: Tensor, batch: Batch) -> Tensor:
        """log r_t = log pi(y_t) - log pi_old(y_t); [N, T]."""
        return F.token_log_ratio(logprobs, batch.old_logprobs)

    @hookimpl
    def clip(self, log_ratio: Tensor, advantages: Tensor) -> Tensor:
        """r A, never clipped; [N, T]."""
        return F.exp_ratio(log_ratio) * advantages

    @hookimpl
    def weight(self, batch: Batch) -> Tensor:
        """1 / sum_i |y_i|: every token of the batch counts the same; [N, T]."""
        return F.token_mean(batch.mask)
