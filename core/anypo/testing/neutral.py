"""What the kit puts below a plugin that is no algorithm by itself, and modifiers on in turn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor
from torch.nn.functional import logsigmoid

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


class PerSequence(NeutralBase):
    """A base with one ratio per sequence, [N, 1]."""

    @hookimpl
    def ratio(self, logprobs: Tensor, batch: Batch) -> Tensor:
        """log s_i = mean over t of log pi(y_t) - log pi_old(y_t); [N, 1]."""
        return F.sequence_log_ratio(logprobs, batch.old_logprobs, batch.mask)

    @hookimpl
    def weight(self, batch: Batch) -> Tensor:
        """1 / (N |y_i|): every completion counts the same; [N, T]."""
        return F.per_completion_mean(batch.mask)


class PerToken(NeutralBase):
    """A base with an advantage per token, [N, T]."""

    @hookimpl
    def advantage(self, batch: Batch) -> Tensor:
        """A_t = (r_i - mean(r)) / t; [N, T]."""
        centred = batch.rewards - F.group_mean(batch.rewards, batch.group)
        return F.to_tokens(centred, batch.mask) / batch.mask.cumsum(-1).clamp(min=1)


class WithColumns(NeutralBase):
    """A base whose `advantage` returns a dict, of which another stage reads more."""

    @hookimpl
    def advantage(self, batch: Batch) -> dict[str, Tensor]:  # type: ignore[override]
        """A_i = r_i - mean(r), and `baseline`, the mean; [N]."""
        baseline = F.group_mean(batch.rewards, batch.group)
        return {"advantages": batch.rewards - baseline, "baseline": baseline}

    @hookimpl
    def regularizer(self, logprobs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """baseline^2 times the square of log pi(y_t); [N, T]."""
        return {"square": batch["baseline"].square().unsqueeze(-1) * logprobs.square()}


class InPairs(PerSequence):
    """A base of pairs: the better and the worse one of two completions are compared, [N, 1]."""

    couples: ClassVar = "group"
    claims: ClassVar = ("own_gradient",)

    @hookimpl
    def rollout(self, prompts: Sequence[Prompt], sampler: Sampler, scorer: Scorer) -> list[Sample]:
        """Two completions of every prompt."""
        return sample_groups(prompts, sampler, scorer, 2)

    @hookimpl
    def advantage(self, batch: Batch) -> Tensor:
        """A = 1 for the better, -1 for the worse one; [N]."""
        return (batch.rewards - F.group_mean(batch.rewards, batch.group)).sign()

    @hookimpl
    def clip(  # type: ignore[override]
        self, log_ratio: Tensor, advantages: Tensor, batch: Batch
    ) -> Tensor:
        """log sigmoid of the log-ratio of the better one less that of the worse; [N, 1]."""
        return logsigmoid(F.margin(log_ratio, advantages, batch.group))

    @hookimpl
    def weight(self, batch: Batch) -> Tensor:
        """1 / (N |y_i|): every pair counts the same; [N, T]."""
        return F.group_completion_mean(batch.mask, batch.group)


OTHER_BASES = (PerSequence, PerToken, WithColumns, InPairs)
