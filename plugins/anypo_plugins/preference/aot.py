"""Alignment via Optimal Transport, paired and unpaired.

Source: Melnyk et al. 2024, arXiv:2406.05882, with the logistic loss. Sorted is what the policy
says now, over the whole minibatch: `weight` sees that, and passes on, beside the weights, what a
row was matched with.
"""

from typing import ClassVar

import torch
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.dpo import DPO


class AOT(Plugin):
    """The i-th largest margin of the policy is to be above the i-th largest of the reference."""

    extends: ClassVar = (DPO,)

    beta: float = 0.01

    @hookimpl(wrapper=True)
    def weight(self, batch, logprobs):
        """DPO's; `other`: the reference's margin of the same rank, less the pair's own; [N, T]."""
        chosen = batch["preference"] > 0
        policy, reference = (
            self._margins(x, batch)[chosen] for x in (logprobs, batch.ref_logprobs)
        )
        other = torch.zeros(len(batch), dtype=reference.dtype, device=reference.device)
        other[chosen] = _matched(policy, reference) - reference
        return {**(yield), "other": F.to_tokens(F.group_sum(other, batch.group), batch.mask)}

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """log sigmoid(beta (h - other)), h = log_ratio(chosen) - log_ratio(rejected); [N, 1]."""
        h = F.margin(log_ratio, advantages, batch.group)
        return logsigmoid(self.beta * (h - _other(batch)))

    def _margins(self, logprobs, batch):
        """log pi(chosen) - log pi(rejected), for both rows of a pair; [N]."""
        logprob = _drift(logprobs, torch.zeros_like(logprobs), batch, self.logps)
        return F.margin(logprob, batch["preference"].unsqueeze(-1), batch.group).squeeze(-1)


class AOTUnpaired(Plugin):
    """DPO of the i-th best chosen against the i-th best rejected completion of a minibatch."""

    extends: ClassVar = (DPO,)
    claims: ClassVar = ("stop_gradient",)

    beta: float = 0.01

    @hookimpl(wrapper=True)
    def weight(self, batch, logprobs):
        """DPO's; `other`: the log-ratio of the same rank on the other side; [N, T]."""
        chosen = batch["preference"] > 0
        drift = _drift(logprobs, batch.ref_logprobs, batch, self.logps).squeeze(-1)
        good, bad, other = drift[chosen], drift[~chosen], torch.empty_like(drift)
        other[chosen], other[~chosen] = _matched(good, bad), _matched(bad, good)
        return {**(yield), "other": F.to_tokens(other, batch.mask)}

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """log sigmoid(beta A (log_ratio - other)); [N, 1].

        A row is half a pair, and `other` a constant: so its own slope is that of both halves.
        """
        h = advantages * (log_ratio - _other(batch))
        return logsigmoid(self.beta * (2 * h - h.detach()))


def _matched(x, others):
    """For each number, that of the same rank among as many others."""
    return others.sort().values[x.argsort().argsort()]


def _drift(logprobs, others, batch, logps):
    return F.sequence_log_ratio(logprobs, others, batch.mask, reduce=logps)


def _other(batch):
    return F.first_token(batch.weights["other"], batch.mask)
