"""Have a model complete the prompts of data sets, and score what it says."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from anypo.functional.groups import rows_by_group
from anypo.hooks.batch import Prompt, Sample
from anypo.rewards.scorer import Rewards
from anypo.runs.judging_options import JudgingConfig
from anypo.runs.memory import memory_advised
from anypo.runs.observer import Observer
from anypo.sampling.sampler import PolicySampler
from anypo.support.world import World

AT_ONCE = 256  # prompts; their completions are scored, and can be kept, before others are drawn


@dataclass(frozen=True)
class Said:
    """What a model says to a prompt."""

    set: str  # the name of the data set; nothing where only one is named
    prompt: Prompt
    samples: list[Sample]  # scored
    completions: list[Any]  # the same as rewards see them: texts, or lists of messages


@dataclass
class Judge:
    """Who completes prompts, and who scores what is said."""

    config: JudgingConfig
    scorer: Rewards
    sets: Mapping[str, Sequence[Prompt]]
    sampler: PolicySampler
    observer: Observer

    @property
    def world(self) -> World:
        """The processes, which all hold the same."""
        return self.sampler.world

    def said(self) -> Iterator[Said]:
        """To every prompt, set by set."""
        done, total = 0, sum(map(len, self.sets.values()))
        for name, prompts in self.sets.items():
            for start in range(0, len(prompts), AT_ONCE):
                some = prompts[start : start + AT_ONCE]
                with memory_advised(self.config):
                    samples = self.sampler.sample(some, self.config.samples)
                    samples = self.scorer(some, samples)
                seen = self.scorer.seen(some, samples)
                done += len(some)
                self.observer.completed(done, total)
                groups = rows_by_group(torch.tensor([sample.group for sample in samples]))
                for prompt, rows in zip(some, groups, strict=True):
                    yield Said(name, prompt, [samples[i] for i in rows], [seen[i] for i in rows])
