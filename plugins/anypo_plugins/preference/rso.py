"""Statistical Rejection Sampling Optimization.

Source: Liu et al. 2023, arXiv:2309.06657, algorithm 1; its pi_sft is the reference. Rewards say who
wins a pair, and completions meet once: the paper's first-round ranking.
"""

import math
import random
from dataclasses import replace
from itertools import groupby
from typing import ClassVar

from pydantic import Field

from anypo import Plugin, Sample, hookimpl
from anypo_plugins.preference.online_dpo import best_and_worst
from anypo_plugins.preference.slic import SLiC


class RSO(Plugin):
    """Keeps, of the reference's completions, those that the best policy might have drawn."""

    extends: ClassVar = (SLiC,)
    claims: ClassVar = ("random_choice",)
    task_knobs: ClassVar = {"addition": {"group_size": 16}}

    group_size: int = Field(64, ge=2, description="Completions drawn per prompt.")
    keep: int = Field(8, ge=2, description="Completions kept of them, of which pairs are made.")
    rso_beta: float = Field(
        0.5, gt=0, description="The larger, the more freely are bad ones kept (beta)."
    )

    @hookimpl
    def rollout(self, prompts, sampler, scorer, state):
        """y is kept with probability exp((r - max r) / rso_beta).

        Of those kept, the first meets the second, and so on.
        """
        drawn = scorer(prompts, sampler.sample(prompts, self.group_size, model="reference"))
        dice = random.Random(state["step"])
        return [
            replace(sample, columns={**sample.columns, "pair": pair})
            for _, group in groupby(drawn, key=lambda sample: sample.group)
            for pair, rivals in enumerate(_in_twos(self._kept(list(group), dice)))
            for sample in best_and_worst(rivals, "drop")
        ]

    @hookimpl
    def advantage(self, batch):
        """A = 1 for chosen, -1 for rejected completions; `group`: one per pair; [N]."""
        group = batch.group * self.keep + batch["pair"]
        return {"advantages": batch["preference"], "group": group}

    def _kept(self, group, dice):
        """Some in the order in which they are accepted, each once."""
        kept: list[Sample] = []
        while group and len(kept) < self.keep:
            best = max(sample.reward for sample in group)
            chances = [math.exp((sample.reward - best) / self.rso_beta) for sample in group]
            lucky = [dice.random() < chance for chance in chances]
            kept += [sample for sample, is_kept in zip(group, lucky, strict=True) if is_kept]
            group = [sample for sample, is_kept in zip(group, lucky, strict=True) if not is_kept]
        return kept[: self.keep]


def _in_twos(samples):
    return zip(samples[::2], samples[1::2], strict=False)
