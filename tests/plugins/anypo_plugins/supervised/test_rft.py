from dataclasses import replace

import pytest

from anypo import Prompt, Sample, compose

REWARDS = {0: [1.0, 1.0, 0.5, 1.0], 1: [0.0, 0.2, 0.7, 0.7]}
WORDS = {0: [3, 3, 4, 5], 1: [3, 4, 5, 6]}


class Sampler:
    def sample(self, prompts, n):
        return [
            Sample(prompt.ids, [WORDS[group][i]], group)
            for group, prompt in enumerate(prompts)
            for i in range(n)
        ]


def scored(prompts, samples):
    said = [reward for group in REWARDS.values() for reward in group]
    return [replace(s, reward=r) for s, r in zip(samples, said, strict=True)]


def learnt(**knobs):
    """What is learnt, of how many samples."""
    prompts = [Prompt([1], ""), Prompt([2], "")]
    samples = compose("rft", knobs=knobs).rollout(prompts, Sampler(), scored, {})
    return [(s.group, *s.completion_ids) for s in samples if s.length], len(samples)


@pytest.mark.parametrize(
    ("threshold", "kept"),
    [
        (1.0, [(0, 3), (0, 5)]),
        (0.6, [(0, 3), (0, 5), (1, 5), (1, 6)]),
        (2.0, []),
    ],
)
def test_rft_learns_the_right_ones_once_and_draws_no_other_prompts(threshold, kept):
    assert learnt(threshold=threshold) == (kept, 8)


def test_what_is_kept_is_imitated(random_batch):
    logprobs, batch = random_batch()
    plain, algorithm = compose("sft"), compose("rft")
    expected = plain.loss(logprobs, plain.prepare(batch)).total
    assert algorithm.loss(logprobs, algorithm.prepare(batch)).total == expected
    assert algorithm.requires == set()
    assert not algorithm.inputs.wanted
