import math
import statistics

import pytest
import torch

from anypo import AnypoError, compose


def by_hand(rows, new, sg):
    """`margin` stands for the value of the prompt."""
    apart = [row.reward - row.margin for row in rows]
    mean, spread = statistics.mean(apart), statistics.stdev(apart)
    gains = []
    for row in rows:
        advantage = (row.reward - row.margin - mean) / (spread + 1e-6)
        for t in row.tokens:
            ratio = math.exp(new[row.index][t] - row.old[t])
            gains.append(min(ratio * advantage, min(max(ratio, 0.8), 1.28) * advantage))
    return -sum(gains) / len(gains)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    logprobs, batch = random_batch(seed)
    values = torch.linspace(-1, 1, len(batch), dtype=torch.float64)
    agrees_by_hand(compose("spo"), by_hand, logprobs, batch.replace(baseline=values, margin=values))


def test_the_first_value_of_a_prompt_is_the_mean_of_rewards_not_learnt_from(deal):
    worth = iter([1.0, 0.0, 0.0, 1.0, 0.5, 0.0])
    algorithm = compose("spo", knobs={"value_samples": 4})
    (sample,), drawn = deal(algorithm, ["a"], lambda *_: next(worth))
    assert drawn == [(["a"], 4, {}), (["a"], 1, {})]
    assert (sample.reward, sample.columns["baseline"]) == (0.5, 0.5)


def test_a_value_follows_the_rewards_of_earlier_steps(deal):
    algorithm, state = compose("spo", knobs={"rho": 0.75, "value_samples": 1}), {}
    value = {"a": 1.0, "b": 0.0}
    first = deal(algorithm, ["a", "b"], lambda content, _: value[content], state)[0]
    assert [sample.columns["baseline"] for sample in first] == [1.0, 0.0]
    for step in range(3):
        reward = float(step % 2)
        (sample,), drawn = deal(algorithm, ["a"], lambda *_, r=reward: r, state)
        assert drawn == [(["a"], 1, {})]
        assert sample.columns["baseline"] == pytest.approx(value["a"])
        value["a"] = 0.75 * value["a"] + 0.25 * reward
    untouched = deal(algorithm, ["b"], lambda *_: 1.0, state)[0]
    assert untouched[0].columns["baseline"] == 0.0


def test_completions_of_one_step_are_compared_with_one_value(deal):
    algorithm, state = compose("spo", knobs={"group_size": 3, "rho": 0.5}), {}
    samples, _ = deal(algorithm, ["a"], lambda *_: 1.0, state)
    worse, _ = deal(algorithm, ["a"], lambda *_: 0.0, state)
    later, _ = deal(algorithm, ["a"], lambda *_: 0.0, state)
    assert [sample.columns["baseline"] for sample in (*samples, *worse)] == [1.0] * 6
    assert later[0].columns["baseline"] == 0.125


@pytest.mark.parametrize("knobs", [{"rho": 1.0}, {"value_samples": 0}, {"group_size": 0}])
def test_refuses_knobs_out_of_range(knobs):
    with pytest.raises(AnypoError, match=next(iter(knobs))):
        compose("spo", knobs=knobs)
