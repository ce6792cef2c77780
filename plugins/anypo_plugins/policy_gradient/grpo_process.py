"""GRPO with process supervision.

Source: DeepSeekMath, Shao et al. 2024, arXiv:2402.03300, section 4.1.3.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field

import anypo.functional as F
from anypo import AnypoError, Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO


class GRPOProcess(Plugin):
    """GRPO that learns from a reward per reasoning step instead of one per completion."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("reward_shift", "reward_scale")
    task_options: ClassVar = {"addition": {"reward": ["anypo_tasks.addition.problems:right_steps"]}}

    outcome_step: bool = Field(
        False, description="Append the completion's own reward as one more step at its last token."
    )
    remaining: Literal["sum", "mean"] = Field(
        "sum", description="How the steps ahead of a token add up; mean favours no long completion."
    )
    std_correction: int = Field(1, ge=0, le=1, description="Variance over n - 1, or over n if 0.")

    @hookimpl
    def advantage(self, batch):
        """A_t = sum of (r_j - mean(r)) / std(r), all steps of a group, over the j >= t; [N, T].

        The token that ends a step is credited with it; tokens after the last step get 0.
        """
        if "step_ends" not in batch:
            raise AnypoError(
                "grpo_process needs a reward function that rewards steps: for each completion, a "
                "list of (end token, reward)"
            )
        row, token = (batch.mask & batch["step_ends"].bool()).nonzero(as_tuple=True)
        rewards = batch["step_rewards"][row, token]
        if self.outcome_step:
            ended, last = _last_tokens(batch.mask)
            row, token = torch.cat([row, ended]), torch.cat([token, last])
            rewards = torch.cat([rewards, batch.rewards[ended]])
        steps = F.group_standardize(rewards, batch.group[row], correction=self.std_correction)
        ahead = _ahead(batch.mask, row, token, steps)
        if self.remaining == "mean":
            ahead = ahead / _ahead(batch.mask, row, token, torch.ones_like(steps)).clamp(min=1)
        return ahead


def _last_tokens(mask):
    """The rows that have a token, and the place of their last one."""
    position = torch.arange(mask.shape[1], device=mask.device)
    row = mask.any(-1).nonzero().squeeze(-1)
    return row, torch.where(mask, position, -1).amax(-1)[row]


def _ahead(mask, row, token, x):
    """For every token the sum of the `x` placed at it or later in its row; [N, T]."""
    placed = torch.zeros(mask.shape, dtype=x.dtype, device=x.device)
    placed = placed.index_put((row, token), x, accumulate=True)
    return F.masked(placed.flip(-1).cumsum(-1).flip(-1), mask)
