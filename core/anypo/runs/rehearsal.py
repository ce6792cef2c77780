"""The rollout of a step without a model: as large as one may be."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice

from anypo.composition.algorithm import Algorithm
from anypo.composition.kept import first_kept
from anypo.composition.synthetic import SyntheticScorer
from anypo.hooks.batch import Prompt, Sample
from anypo.hooks.specs import beginning
from anypo.runs.setup import Setup


@dataclass
class Rehearsal:
    """A sampler whose completions are all as long as they may be, and who counts them."""

    max_completion_length: int  # tokens
    drawn: int = 0  # completions
    each: int = 0  # of a prompt, at most

    def sample(self, prompts: Sequence[Prompt], n: int) -> list[Sample]:
        """See `anypo.Sampler`."""
        self.drawn, self.each = self.drawn + n * len(prompts), max(self.each, n)
        tokens = [0] * self.max_completion_length
        values = [0.0] * self.max_completion_length
        return [
            Sample(prompt.ids, tokens, group, logprobs=values)
            for group, prompt in enumerate(prompts)
            for _ in range(n)
        ]


@dataclass(frozen=True)
class Rollout:
    """What a step is made of."""

    prompts: int
    drawn: int  # completions that the policy samples
    each: int  # of a prompt
    samples: list[Sample] = field(default_factory=list)  # that are learnt from, the longest first


def rehearse(algorithm: Algorithm, found: Setup) -> Rollout:
    """A step of the longest prompts, with rewards of 0 and 1 in turn."""
    count = found.config.prompts_per_step
    prompts = list(islice(cycle(sorted(found.prompts, key=_length, reverse=True)), count))
    sampler = Rehearsal(found.config.longest_sample)
    kept = first_kept(algorithm, prompts, sampler, SyntheticScorer(), beginning(), found.prompts)
    samples = sorted(kept, key=lambda s: len(s.prompt_ids) + len(s.completion_ids), reverse=True)
    return Rollout(count, sampler.drawn, sampler.each, samples)


def _length(prompt: Prompt) -> int:
    return len(prompt.ids) + max((len(c.ids) for c in prompt.completions.values()), default=0)
