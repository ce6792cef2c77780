"""Fine-tuning on completions of one's own that were rewarded: rejection sampling.

Source: RFT, Yuan et al. 2023, arXiv:2308.01825, section 3.3, which learns every right one once;
RAFT, Dong et al. 2023, arXiv:2304.06767, algorithm 1, which learns the best of each prompt.
"""

from typing import ClassVar

from pydantic import Field

from anypo import Plugin, hookimpl, sample_groups
from anypo_plugins.supervised.sft import SFT


class RFT(Plugin):
    """SFT on those of its own completions that are right."""

    extends: ClassVar = (SFT,)

    group_size: int = Field(4, ge=1, description="Completions sampled per prompt (G).")
    threshold: float = Field(1.0, description="The reward from which a completion is learnt.")

    @hookimpl
    def rollout(self, prompts, sampler, scorer, state):
        """Those of G completions of every prompt with r_i >= threshold, equal ones once."""
        samples = sample_groups(prompts, sampler, scorer, self.group_size)
        right = [sample for sample in samples if sample.reward >= self.threshold]
        kept = {(sample.group, *sample.completion_ids): sample for sample in right}
        unsolved = set(range(len(prompts))) - {sample.group for sample in right}
        state.setdefault("dropped", []).extend(unsolved)
        return list(kept.values())


class RAFT(Plugin):
    """SFT on the best of several completions of its own."""

    extends: ClassVar = (SFT,)

    group_size: int = Field(4, ge=2, description="Completions sampled per prompt (G).")

    @hookimpl
    def rollout(self, prompts, sampler, scorer):
        """That of G completions of every prompt with the highest reward; of equals the first."""
        samples = sample_groups(prompts, sampler, scorer, self.group_size)
        best = {}
        for sample in samples:
            if sample.group not in best or sample.reward > best[sample.group].reward:
                best[sample.group] = sample
        return list(best.values())
