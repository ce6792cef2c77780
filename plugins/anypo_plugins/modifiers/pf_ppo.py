"""Policy Filtration, a modifier.

Source: PF-PPO, Shen and Zhang 2024, arXiv:2409.06957; the weights: verl's
`compute_pf_ppo_reweight_data`. As there, completions are drawn once advantages are known. A
completion that is drawn twice counts twice, and denominators are those of all.
"""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from anypo import Plugin, hookimpl


class PFPPO(Plugin):
    """Learns from completions whose rewards can be trusted more: the best, or best and worst."""

    claims: ClassVar = ("random_choice", "own_gradient")

    pf_method: Literal["pow", "max_min", "max_random"] = Field(
        "pow",
        description="Chances to be drawn: |r|^pf_pow; those of the highest and the lowest reward "
        "alone; those of the highest, and 0.4 times that of others.",
    )
    pf_pow: float = Field(2.0, gt=0, description="pow: the exponent.")

    @hookimpl(wrapper=True)
    def advantage(self, batch, state):
        """What it is; and `drawn`, how often each of N draws hit the row; [N]."""
        answer = yield
        others = answer if isinstance(answer, dict) else {"advantages": answer}
        chances = self._chances(batch.rewards).cpu()
        chances = chances if chances.any() else torch.ones_like(chances)
        random = torch.Generator().manual_seed(state["step"])  # the same on all ranks
        hits = torch.multinomial(chances, len(batch), replacement=True, generator=random)
        drawn = torch.bincount(hits, minlength=len(batch)).to(batch.rewards)
        return {**others, "drawn": drawn}

    @hookimpl(wrapper=True)
    def clip(self, batch):
        """drawn_i gain; [N, T] or [N, 1]."""
        return batch["drawn"].unsqueeze(-1) * (yield)

    def _chances(self, rewards):
        if self.pf_method == "pow":
            return rewards.abs() ** self.pf_pow
        if self.pf_method == "max_min":
            return ((rewards == rewards.max()) | (rewards == rewards.min())).to(rewards)
        return torch.where(rewards == rewards.max(), 1.0, 0.4).to(rewards)
