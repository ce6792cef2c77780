import statistics

import pytest
import torch

from anypo import Prompt, Sample, compose
from anypo import functional as F

REWARDS = {1: (1.0, 1.0), 2: (1.0, 0.9), 3: (1.0, 0.0), 4: (0.0, 0.0), 5: (0.5, 0.25)}


class Sampler:
    """Two completions of every prompt, whose rewards are known beforehand."""

    max_completion_length = 9

    def __init__(self):
        self.asked = []

    def sample(self, prompts, n):
        self.asked.append([prompt.ids[0] for prompt in prompts])
        return [
            Sample(prompt.ids, [place], group, reward=reward)
            for group, prompt in enumerate(prompts)
            for place, reward in enumerate(REWARDS[prompt.ids[0]])
        ]


def scored(prompts, samples):
    return samples


def rollout(sampler, state, *names):
    prompts = [Prompt([name], "") for name in names]
    return compose("scale_rl").rollout(prompts, sampler, scored, state)


def test_reproduces_the_loss_of_the_paper(reproduces_paper):
    reproduces_paper(compose("scale_rl"), "scale_rl")


def test_groups_of_equal_rewards_are_dropped_for_good():
    state = {}
    kept = rollout(Sampler(), state, 4, 3, 5, 1)
    assert [(s.group, s.prompt_ids[0]) for s in kept] == [(1, 3), (1, 3), (2, 5), (2, 5)]
    assert sorted(state["dropped"]) == [0, 3]


def test_a_prompt_that_is_all_but_solved_is_learnt_and_then_asked_no_more():
    state, sampler = {}, Sampler()
    assert {s.group for s in rollout(sampler, state, 2, 3)} == {0, 1}
    assert state.pop("dropped") == []
    assert [(s.group, s.prompt_ids[0]) for s in rollout(sampler, state, 2, 1, 3)] == [(2, 3)] * 2
    assert sorted(state.pop("dropped")) == [0, 1]
    assert rollout(sampler, state, 1, 2) == []
    assert sorted(state["dropped"]) == [0, 1]
    assert sampler.asked == [[2, 3], [1, 3]]


def test_of_a_solved_prompt_little_is_remembered():
    state, long = {}, Prompt([1] * 10_000, "")
    compose("scale_rl").rollout([long], Sampler(), scored, state)
    assert 0 < sum(map(len, state["solved"])) < 100


def test_every_prompt_counts_the_same_and_the_deviation_is_that_of_the_batch(random_batch):
    _, batch = random_batch()
    prepared = compose("scale_rl").prepare(batch)
    torch.testing.assert_close(
        prepared.weights["policy"], F.group_token_mean(batch.mask, batch.group)
    )
    spread = statistics.stdev(batch.rewards.tolist())
    centred = F.group_standardize(batch.rewards, batch.group, scale="none")
    live = batch.mask[:, 0]
    assert prepared.advantages[live, 0].tolist() == pytest.approx(
        (centred / spread)[live].tolist(), abs=1e-5
    )
