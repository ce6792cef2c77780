"""A made-up policy that says random things, and the same again where the same is asked for."""

import random
from dataclasses import replace
from types import SimpleNamespace

from anypo import Prompt, Sample

REWARDS = (0.0, 0.5, 1.0)
WORDS = (2, 3, 4)


class Dealer:
    """Samples and rewards by what it is asked for: the prompt, the seed, and how to draw."""

    max_completion_length = 2

    def __init__(self, seed):
        self.seed = seed

    def prompts(self):
        """Six, no two of which are alike, with a column that a teacher may read."""
        names = range(10 * self.seed, 10 * self.seed + 6)
        return [Prompt([name], None, {"privileged_context": f"say {name}"}) for name in names]

    def sample(self, prompts, n, **how):
        return [self._one(p, group, i, how) for group, p in enumerate(prompts) for i in range(n)]

    def score(self, prompts, samples):
        return [replace(s, reward=self._worth(s)) for s in samples]

    def followed_by(self, prompt, more):
        return Prompt([*prompt.ids, *more.encode()], None)

    def draw(self, n, **how):
        """The same as rows of plain numbers, each with its reward."""
        prompts = self.prompts()
        return [*map(plainly, self.score(prompts, self.sample(prompts, n, **how)))]

    def _one(self, prompt, group, i, how):
        chance = random.Random(f"{prompt.ids} {i} {sorted(how.items())}")
        words = chance.choices(WORDS, k=chance.randint(1, self.max_completion_length))
        logprobs = [chance.uniform(-3, 0) for _ in words]
        truncated = chance.random() < 0.4
        return Sample(prompt.ids, words, group, logprobs=logprobs, truncated=truncated)

    def _worth(self, sample):
        return random.Random(f"{sample.prompt_ids} {sample.completion_ids}").choice(REWARDS)


def plainly(sample):
    """What of a sample is learnt: of how many of its tokens, after what, and for which reward."""
    return SimpleNamespace(
        group=sample.group,
        prompt=sample.prompt_ids,
        said=sample.completion_ids,
        learnt=sample.length,
        reward=sample.reward,
        truncated=sample.truncated,
        logprobs=sample.logprobs,
        teacher=sample.teacher_prompt_ids,
    )
