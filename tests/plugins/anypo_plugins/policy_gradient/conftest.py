"""Fixtures of algorithms that sample: a made-up policy whose completions have given rewards."""

from dataclasses import replace

import pytest

from anypo import Prompt, Sample


class Dealer:
    """Samples and scores: a completion is worth what `worth(content of the prompt, how)` says.

    What it was asked for is in `drawn`, as (contents, n, how).
    """

    max_completion_length = 20

    def __init__(self, worth):
        self.worth, self.drawn, self.rewards = worth, [], {}

    def sample(self, prompts, n, **how):
        self.drawn.append(([prompt.content for prompt in prompts], n, how))
        return [self._one(prompt, i, how) for i, prompt in enumerate(prompts) for _ in range(n)]

    def _one(self, prompt, group, how):
        name = 1000 + len(self.rewards)
        self.rewards[name] = self.worth(prompt.content, how)
        return Sample(prompt.ids, [name], group)

    def scorer(self, prompts, samples):
        return [self._judged(sample) for sample in samples]

    def _judged(self, sample):
        reward = self.rewards.get(sample.completion_ids[0], 1.0)
        return replace(sample, reward=reward, scores={"worth": reward})


@pytest.fixture
def deal():
    """Rolls out of prompts, given by their contents: the samples, and what was asked for."""

    def roll_out(algorithm, contents, worth, state=None, completions=None):
        dealer = Dealer(worth)
        held = completions or {}
        prompts = [Prompt([*c.encode()], c, completions=held.get(c, {})) for c in contents]
        state = {} if state is None else state
        samples = algorithm.rollout(prompts, dealer, dealer.scorer, state)
        return samples, dealer.drawn

    return roll_out
