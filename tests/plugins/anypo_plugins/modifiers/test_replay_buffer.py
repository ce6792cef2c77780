from collections import Counter
from dataclasses import replace
from functools import cache

import pytest

from anypo import AnypoError, Prompt, Sample, compose
from anypo.hooks.specs import beginning


class Sampler:
    def sample(self, prompts, n):
        return [
            Sample(prompt.ids, [i], group, logprobs=[-float(prompt.ids[0])])
            for group, prompt in enumerate(prompts)
            for i in range(n)
        ]


@pytest.fixture
def step():
    """Goes one step on: the rewards of every prompt's group, and what is learnt."""
    state = beginning()

    @cache
    def algorithm_of(**knobs):
        return compose("grpo", "replay_buffer", knobs=knobs)

    def go_on(rewards, **knobs):
        algorithm = algorithm_of(group_size=len(next(iter(rewards.values()))), **knobs)

        def scorer(prompts, samples):
            said = [reward for group in rewards.values() for reward in group]
            return [replace(s, reward=r) for s, r in zip(samples, said, strict=True)]

        prompts = [Prompt([name], "") for name in rewards]
        samples = algorithm.rollout(prompts, Sampler(), scorer, state)
        state["step"] += 1
        return [(s.group, *s.prompt_ids, s.reward, *s.logprobs) for s in samples]

    return go_on


def test_a_group_of_equal_rewards_gives_way_to_an_earlier_one_as_it_was_sampled(step):
    first = step({7: [1.0, 0.0], 8: [1.0, 1.0]})
    assert first == [(0, 7, 1.0, -7), (0, 7, 0.0, -7), (1, 8, 1.0, -8), (1, 8, 1.0, -8)]
    assert step({5: [0.0, 0.0], 6: [0.0, 3.0]}) == [
        *((0, 7, 1.0, -7), (0, 7, 0.0, -7)),
        *((1, 6, 0.0, -6), (1, 6, 3.0, -6)),
    ]


def test_groups_that_taught_more_come_back_more_often(step):
    step({1: [1.0, 0.0], 2: [3.0, 0.0], 3: [5.0, 5.0]})
    back = Counter(step({9: [0.0, 0.0]})[0][1] for _ in range(400))
    assert back.keys() == {1, 2}
    assert back[2] / 400 == pytest.approx(3 / 4, abs=0.07)


def test_what_taught_least_is_forgotten_and_of_equals_the_oldest(step):
    for name, gap in ((1, 1.0), (2, 2.0), (3, 1.0)):
        step({name: [gap, 0.0]}, replay_size=2)
    back = {step({9: [0.0, 0.0]}, replay_size=2)[0][1] for _ in range(60)}
    assert back == {2, 3}


def test_the_ratio_is_to_the_policy_that_sampled():
    algorithm = compose("grpo", "replay_buffer")
    assert "sampler_logprobs" in algorithm.requires
    assert any(layer.name == "bypass" for layer in algorithm.layers)


def test_completions_without_rewards_are_refused():
    with pytest.raises(AnypoError, match="replay_buffer compares rewards, but"):
        compose("dpo", "replay_buffer")
