"""Generalised knowledge distillation.

Source: Agarwal et al. 2023, arXiv:2306.13649, section 3 and equation 1.
"""

import math
from typing import ClassVar

import torch
from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl


class GKD(Plugin):
    """Brings whole distributions closer to a teacher's, on completions of its own and of others."""

    options: ClassVar = {"learning_rate": 1e-5}

    beta: float = Field(0.5, ge=0, le=1, description="0: KL(teacher || policy); 1: the reverse.")
    on_policy: float = Field(
        1.0, ge=0, le=1, description="Share of prompts that the policy completes; else the data."
    )

    @hookimpl
    def rollout(self, prompts, sampler):
        """One completion of each prompt: of the policy, or the `completion` of its row."""
        drawn = int(self.on_policy * len(prompts) + torch.rand(()).item())  # right on average
        if 0 < self.on_policy < 1 < len(prompts):
            drawn = min(max(drawn, 1), len(prompts) - 1)
        held = [p.sample("completion", i) for i, p in enumerate(prompts) if i >= drawn]
        return (sampler.sample(prompts[:drawn], 1) if drawn else []) + held

    @hookimpl
    def advantage(self, batch):
        """A = 1; [N]."""
        return torch.ones(len(batch), device=batch.mask.device)

    @hookimpl
    def ratio(self, logprobs):
        """log pi(y_t), compared with nothing; [N, T]."""
        return logprobs

    @hookimpl
    def distribution(self, log_distribution, teacher_log_distribution):
        """jsd = beta KL(teacher || M) + (1 - beta) KL(pi || M); M = beta teacher + (1 - beta) pi.

        At both ends of beta, what its share tends to: KL(teacher || pi) and KL(pi || teacher).
        """
        student, teacher, beta = log_distribution, teacher_log_distribution, self.beta
        if beta == 0:
            return {"jsd": F.kl(teacher, student)}
        if beta == 1:
            return {"jsd": F.kl(student, teacher)}
        mixture = torch.logaddexp(teacher + math.log(beta), student + math.log(1 - beta))
        return {"jsd": beta * F.kl(teacher, mixture) + (1 - beta) * F.kl(student, mixture)}

    @hookimpl
    def clip(self, advantages, token_statistics):
        """-A JSD_beta; [N, T]."""
        return -advantages * token_statistics["jsd"]

    @hookimpl
    def weight(self, batch):
        """1 / sum_i |y_i|; [N, T]."""
        return F.token_mean(batch.mask)
