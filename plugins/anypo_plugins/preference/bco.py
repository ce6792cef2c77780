"""Binary Classifier Optimization, on pairs and on single labels.

Source: Jung et al. 2024, arXiv:2404.04656. The reward shift is the mean of all
rewards so far, as in TRL, and on pairs there is none, as in TRL's `bco_pair`. The weights for data
of which good and bad completions answer other prompts are not in it: they need embeddings.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.dpo import DPO
from anypo_plugins.preference.kto import KTO, labelled


class BCOPair(Plugin):
    """The chosen completion is to have a positive, the rejected a negative implicit reward."""

    extends: ClassVar = (DPO,)

    beta: float = 0.01

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """log sigmoid(r_w) + log sigmoid(-r_l), r = beta log_ratio; [N, 1]."""
        return F.pair_sum(logsigmoid(self.beta * advantages * log_ratio), batch.group)


class BCO(Plugin):
    """Tells good completions from bad ones by an implicit reward above the mean of all so far."""

    extends: ClassVar = (KTO,)

    beta: float = Field(0.01, gt=0, description="How strongly the reference holds the policy back.")

    @hookimpl
    def rollout(self, prompts):
        """The `completion` of every row with its `label`."""
        return [labelled(prompt, group) for group, prompt in enumerate(prompts)]

    @hookimpl
    def advantage(self, batch, state):
        """A = 1 for good, -1 for bad completions; `z0` = the mean log_ratio so far; [N]."""
        log_ratio = F.sequence_log_ratio(
            batch.old_logprobs, batch.ref_logprobs, batch.mask, reduce="sum"
        )
        total, count = state.get("bco", (0.0, 0))
        total, count = total + float(log_ratio.double().sum()), count + len(batch)
        state["bco"] = [total, count]
        return {"advantages": batch["label"], "z0": torch.full_like(batch["label"], total / count)}

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """w log sigmoid(beta A (log_ratio - z0)), w the weight of the label; [N, 1]."""
        weight = torch.where(advantages > 0, self.desirable_weight, self.undesirable_weight)
        return weight * logsigmoid(self.beta * advantages * (log_ratio - batch["z0"].unsqueeze(-1)))
