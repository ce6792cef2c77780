"""SLiC-HF, as RSO's hinge-norm.

Source: Zhao et al. 2023, arXiv:2305.10425; with log-ratios to the reference: Liu et al. 2023,
arXiv:2309.06657, `hinge-norm`. TRL calls it `hinge`. SLiC-HF itself compares log-probs, and has a
likelihood of given completions beside them.
"""

from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.preference.dpo import DPO


class SLiC(Plugin):
    """DPO with a hinge: pairs further apart than 1 / beta teach nothing."""

    extends: ClassVar = (DPO,)
    task_knobs: ClassVar = {"addition": {"beta": 0.3}}

    beta: float = Field(0.05, gt=0, description="Pairs are to be 1 / beta nats apart (gamma).")

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """-max(0, 1 - beta h), h = log_ratio(chosen) - log_ratio(rejected); [N, 1]."""
        return -(1 - self.beta * F.margin(log_ratio, advantages, batch.group)).clamp(min=0)
