"""A replay buffer of groups, a modifier.

Source: TRL's experimental GRPO with a replay buffer, which keeps and draws groups by the sum of
|r - mean(r)|. Of old groups the policy that sampled them is the sampler's, hence bypass.
"""

import random
from collections import defaultdict
from dataclasses import replace
from statistics import fmean
from typing import ClassVar

from pydantic import Field

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo_plugins.modifiers.bypass import Bypass
from anypo_plugins.modifiers.rewarded import rewarded


class ReplayBuffer(Plugin):
    """Groups of equal rewards, which teach nothing, give way to earlier ones that taught much."""

    extends: ClassVar = (Bypass,)

    replay_size: int = Field(64, ge=1, description="Groups that are remembered.")

    @hookimpl(wrapper=True)
    def rollout(self, prompts, state):
        """The groups; in place of each of equal rewards an earlier one of unequal, if any.

        Where the rollout below keeps nothing of a prompt, as DAPO's does of equal rewards, an
        earlier group stands in for the prompt that would be drawn instead.
        """
        groups = defaultdict(list)
        for sample in rewarded((yield), "replay_buffer", "compares"):
            groups[sample.group].append(sample)
        buffer = state.get("replay", [])
        draw = random.Random(f"{state['step']} {len(groups)}")
        taught = {name: g for name, g in groups.items() if _spread(g) > F.EQUAL_REWARDS}
        dull = set(range(len(prompts))) - taught.keys() - {*state.get("dropped", ())}
        ranked = sorted([*taught.values(), *buffer], key=_spread, reverse=True)
        state["replay"] = ranked[: self.replay_size]
        for name in sorted(dull) if buffer else ():
            (group,) = draw.choices(buffer, weights=[*map(_spread, buffer)])
            groups[name] = [replace(sample, group=name) for sample in group]
        return [sample for name in sorted(groups) for sample in groups[name]]


def _spread(group):
    rewards = [sample.reward for sample in group]
    return sum(abs(reward - fmean(rewards)) for reward in rewards)
