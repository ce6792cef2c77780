"""Group Filtered Policy Optimization.

Source: Shrivastava et al. 2025, arXiv:2508.09726, equation 2.
"""

from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field, field_validator

import anypo.functional as F
from anypo import Plugin, hookimpl, load_function
from anypo_plugins.policy_gradient.grpo import GRPO

HISTORY = 10_000  # prompts whose difficulty is remembered


class GFPO(Plugin):
    """Samples more completions and learns from the best, for instance the briefest, of a group."""

    extends: ClassVar = (GRPO,)
    claims: ClassVar = ("reward_scale",)

    # Of 16 answers to so easy a problem 8 are soon right, and what is all right teaches nothing.
    task_knobs: ClassVar = {"addition": {"keep": 12}}

    group_size: int = 16
    keep: int = Field(8, ge=2, description="Completions of a group to learn from (k).")
    metric: str = Field(
        "token_efficiency",
        description="What ranks a group: token_efficiency, shortest, or your own as file.py:name, "
        "called as metric(rewards [n], lengths [n]) -> scores [n].",
    )
    retained_only: bool = Field(
        False, description="Leave rejected completions out of denominators and penalties too."
    )
    std_correction: int = Field(1, ge=0, le=1, description="Variance over n - 1, or over n if 0.")
    adaptive: bool = Field(False, description="Keep more of a group the harder its prompt is.")
    adaptive_warmup: int = Field(10, ge=1, description="adaptive: first steps, which use keep.")
    keep_very_hard: int = Field(8, ge=2, description="adaptive: k in the hardest quarter.")
    keep_hard: int = Field(8, ge=2, description="adaptive: k in the second hardest quarter.")
    keep_medium: int = Field(6, ge=2, description="adaptive: k in the second easiest quarter.")
    keep_easy: int = Field(4, ge=2, description="adaptive: k in the easiest quarter.")

    @hookimpl
    def advantage(self, batch, state):
        """A_i = (r_i - mean_S(r)) / std_S(r), S the k best of a group; 0 for the others; [N].

        The others count in the denominators. `retained_only` masks them instead.
        """
        groups = [(batch.group == group).nonzero().squeeze(-1) for group in batch.group.unique()]
        kept = torch.zeros_like(batch.group, dtype=torch.bool)
        for rows, k in zip(groups, self._keeps(batch, groups, state), strict=True):
            kept[rows[self._best(batch.rewards[rows], batch.lengths[rows], k)]] = True
        advantages = torch.zeros_like(batch.rewards)
        advantages[kept] = F.group_standardize(
            batch.rewards[kept], batch.group[kept], correction=self.std_correction
        )
        if self.retained_only:
            return {"advantages": advantages, "mask": batch.mask & kept.unsqueeze(-1)}
        return advantages

    def keep_by_difficulty(self, means, history):
        """k for each mean reward, by the quartile of the history that it falls into."""
        quarters = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
        quartiles = torch.tensor(history, dtype=torch.float64).quantile(quarters)
        keeps = (self.keep_very_hard, self.keep_hard, self.keep_medium, self.keep_easy)
        return [keeps[int((mean >= quartiles).sum())] for mean in means]

    def _keeps(self, batch, groups, state):
        if not self.adaptive:
            return [self.keep] * len(groups)
        memory = state.setdefault("gfpo", {"steps": 0, "means": []})
        means = [float(batch.rewards[rows].double().mean()) for rows in groups]
        memory["steps"] += 1
        memory["means"] = (memory["means"] + means)[-HISTORY:]
        keeps = self.keep_by_difficulty(means, memory["means"])
        return keeps if memory["steps"] > self.adaptive_warmup else [self.keep] * len(groups)

    def _best(self, rewards, lengths, k):
        """The k rows of highest score; of equals the shorter, the better rewarded, the earlier."""
        scores = torch.as_tensor(self._metric(rewards, lengths))
        if scores.shape != rewards.shape or scores.isnan().any():
            raise ValueError(f"metric '{self.metric}' gave {scores}, not {len(rewards)} numbers")
        order = list(zip((-scores).tolist(), lengths.tolist(), (-rewards).tolist(), strict=True))
        return sorted(range(len(order)), key=order.__getitem__)[:k]

    @cached_property
    def _metric(self):
        return load_metric(self.metric)

    @field_validator("metric")
    @classmethod
    def _can_be_loaded(cls, metric):
        load_metric(metric)
        return metric

    @field_validator("keep", "keep_very_hard", "keep_hard", "keep_medium", "keep_easy")
    @classmethod
    def _rejects_some(cls, keep, info):
        is_used = info.field_name == "keep" or info.data.get("adaptive")
        if is_used and keep >= info.data.get("group_size", torch.inf):
            raise ValueError(f"must be below group_size = {info.data['group_size']}")
        return keep


def token_efficiency(rewards, lengths):
    """Reward per token; a group's rewards are shifted so that none is negative.

    A penalty would shrink with the length, and long wrong completions would rank above short ones.
    """
    return (rewards - rewards.min().clamp(max=0)) / lengths.clamp(min=1)


def shortest(rewards, lengths):
    """The fewer tokens, the better."""
    return -lengths


METRICS = {"token_efficiency": token_efficiency, "shortest": shortest}


def load_metric(spec):
    """The metric of that name, or the function that file.py:name stands for."""
    if spec not in METRICS and ":" not in spec:
        raise ValueError(f"there is {' and '.join(METRICS)}; name your own as file.py:name")
    return METRICS[spec] if spec in METRICS else load_function(spec)
