import math
from collections import Counter
from dataclasses import replace
from functools import cache
from statistics import fmean
from types import SimpleNamespace

import pytest

from anypo import AnypoError, Plugin, Prompt, Sample, compose, hookimpl
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
    def algorithm_of(*below, **knobs):
        return compose(*below, "replay_buffer", knobs=knobs)

    def go_on(rewards, below=("grpo",), **knobs):
        algorithm = algorithm_of(*below, group_size=len(next(iter(rewards.values()))), **knobs)

        def scorer(prompts, samples):
            said = [reward for group in rewards.values() for reward in group]
            pairs = zip(samples, said, strict=True)
            return [replace(s, reward=r, scores={"said": r}) for s, r in pairs]

        prompts = [Prompt([name], "") for name in rewards]
        samples = algorithm.rollout(prompts, Sampler(), scorer, state)
        state["step"] += 1
        return [(s.group, *s.prompt_ids, s.reward, *s.logprobs) for s in samples]

    return go_on


def spread(group):
    mean = fmean(row.reward for row in group)
    return sum(abs(row.reward - mean) for row in group)


def remembering_one():
    """Equal groups give way to the one that taught most so far; of equals, to the latest."""
    held = []

    def by_hand(draw):
        groups = {}
        for row in draw(2):
            groups.setdefault(row.group, []).append(row)
        taught = [group for group in groups.values() if spread(group) > 0]
        learnt = []
        for name, group in groups.items():
            again = held[0] if held and group not in taught else group
            learnt += [SimpleNamespace(**{**vars(row), "group": name}) for row in again]
        for group in reversed(taught):
            if not held or spread(group) >= spread(held[0]):
                held[:] = [group]
        return learnt

    return by_hand


def loss_by_hand(rows, new, sg):
    losses = []
    for row in filter(lambda row: row.tokens, rows):
        gains = []
        for t in row.tokens:
            ratio = math.exp(new[row.index][t] - row.sampler[t])
            clipped = min(max(ratio, 0.8), 1.2)
            gains.append(min(ratio * row.advantage, clipped * row.advantage))
        losses.append(-fmean(gains))
    return fmean(losses)


def test_the_group_that_is_remembered_comes_back_in_the_place_of_equal_ones(rolls_out_by_hand):
    algorithm = compose("grpo", "replay_buffer", knobs={"group_size": 2, "replay_size": 1})
    rolls_out_by_hand(algorithm, remembering_one(), steps=8)


@pytest.mark.parametrize("seed", range(2))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    algorithm = compose("grpo", "replay_buffer", knobs={"kl_coef": 0.0})
    agrees_by_hand(algorithm, loss_by_hand, *random_batch(seed))


def test_groups_that_taught_more_come_back_more_often(step):
    step({1: [1.0, 0.0], 2: [3.0, 0.0], 3: [5.0, 5.0]})
    back = Counter(step({9: [0.0, 0.0]})[0][1] for _ in range(400))
    assert back.keys() == {1, 2}
    assert back[2] / 400 == pytest.approx(3 / 4, abs=0.07)


def test_a_group_that_the_rollout_below_drops_gives_way_too(step):
    below = ("dapo",)
    (first, *_) = step({1: [1.0, 0.0], 2: [5.0, 5.0]}, below)
    assert first == (0, 1, 1.0, -1.0)
    rows = step({7: [0.0, 0.0], 8: [4.0, 0.0], 9: [3.0, 3.0]}, below)
    assert [row[:2] for row in rows] == [(0, 1), (0, 1), (1, 8), (1, 8), (2, 1), (2, 1)]


class Never(Plugin):
    """Drops the first prompt for good."""

    @hookimpl(wrapper=True)
    def rollout(self, state):
        """All but the first."""
        samples = yield
        state["dropped"] = [0]
        return [sample for sample in samples if sample.group]


def test_what_is_dropped_for_good_stays_away(step):
    below = ("grpo", Never)
    step({1: [0.0, 0.0], 2: [4.0, 0.0]}, below)
    assert {row[:2] for row in step({7: [1.0, 0.0], 8: [3.0, 3.0]}, below)} == {(1, 2)}


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
