"""Kahneman-Tversky Optimization.

Source: Ethayarajh et al. 2024, arXiv:2402.01306, equation 7.
"""

from dataclasses import replace
from itertools import chain
from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import AnypoError, Plugin, hookimpl


class KTO(Plugin):
    """Learns from completions labelled good or bad, judged against the policy's drift so far."""

    options: ClassVar = {"max_completion_length": 512}
    task_options: ClassVar = {"addition": {"learning_rate": 5e-5, "minibatches": 1}}
    task_knobs: ClassVar = {"addition": {"beta": 1.0}}

    beta: float = Field(0.1, gt=0, description="How soon a gain or a loss saturates.")
    desirable_weight: float = Field(1.0, ge=0, description="Weight of good completions.")
    undesirable_weight: float = Field(1.0, ge=0, description="Weight of bad completions.")

    @hookimpl
    def rollout(self, prompts, data):
        """The `completion` of every row with its `label`; and that of another prompt, for z0."""
        return [
            sample
            for group, prompt in enumerate(prompts)
            for sample in (labelled(prompt, group), _mismatched(prompts, group, data))
        ]

    @hookimpl
    def advantage(self, batch):
        """A = 1 for good, -1 for bad completions, 0 for mismatched ones; [N].

        `z0` = max(0, mean over mismatched rows of log pi(y) / pi_ref(y)), before any update.
        """
        log_ratio = F.sequence_log_ratio(
            batch.old_logprobs, batch.ref_logprobs, batch.mask, reduce="sum"
        ).squeeze(-1)
        mismatched = batch["label"] == 0
        z0 = (log_ratio * mismatched).sum() / mismatched.sum().clamp(min=1)
        return {"advantages": batch["label"], "z0": z0.clamp(min=0).expand(len(batch))}

    @hookimpl
    def ratio(self, logprobs, batch):
        """log pi(y) / pi_ref(y), summed over the tokens; [N, 1]."""
        return F.sequence_log_ratio(logprobs, batch.ref_logprobs, batch.mask, reduce="sum")

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """-w (1 - sigmoid(beta A (log_ratio - z0))), w the weight of the label; [N, 1]."""
        drift = batch["z0"].unsqueeze(-1)
        loss = torch.sigmoid(-self.beta * advantages * (log_ratio - drift))
        desirable = advantages > 0
        return -torch.where(desirable, self.desirable_weight * loss, self.undesirable_weight * loss)

    @hookimpl
    def weight(self, batch):
        """1 / (N |y_i|) over the labelled rows; mismatched rows have none; [N, T]."""
        return F.per_completion_mean(batch.mask & (batch["label"] != 0).unsqueeze(-1))

    @hookimpl
    def metrics(self, log_ratio, batch):
        """The implicit rewards beta log_ratio of good and bad completions, and z0."""
        rewards, label = self.beta * log_ratio, batch["label"].unsqueeze(-1)
        return {
            "rewards/chosen": torch.where(label > 0, rewards, torch.nan),
            "rewards/rejected": torch.where(label < 0, rewards, torch.nan),
            "kl/z0": batch["z0"],
        }


def labelled(prompt, group):
    """The `completion` of a row, 1 or -1 being its `label`."""
    return prompt.sample("completion", group, label=1.0 if prompt.columns["label"] else -1.0)


def _mismatched(prompts, group, data):
    """The prompt with the completion of the next row that has another prompt."""
    prompt = prompts[group]
    following = (prompts[(group + i) % len(prompts)] for i in range(1, len(prompts)))
    for other in chain(following, data):
        if other.ids != prompt.ids:
            mismatched = other.sample("completion", group, label=0.0)
            return replace(mismatched, prompt_ids=prompt.ids)
    raise AnypoError(
        "kto compares prompts with the completions of others, so the data, and held-out data, need "
        "at least 2 different prompts: add rows"
    )
