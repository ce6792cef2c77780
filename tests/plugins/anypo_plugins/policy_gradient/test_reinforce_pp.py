import math
import statistics

import pytest
import torch

from anypo import AnypoError, compose


def whitened(numbers):
    mean = statistics.mean(numbers.values())
    spread = math.sqrt(statistics.variance(numbers.values()) + 1e-8)
    return {at: (x - mean) / spread for at, x in numbers.items()}


def returns(rows):
    """By row and token: gamma = 0.9 of what is still to come, the KL at 0.2."""
    to_come = {}
    for row in rows:
        rewards = [-0.2 * (row.old[t] - row.ref[t]) for t in row.tokens]
        if rewards:
            rewards[-1] += row.reward
        for i, t in enumerate(row.tokens):
            ahead = enumerate(rewards[i:])
            to_come[row.index, t] = sum(0.9**k * reward for k, reward in ahead)
    return to_come


def centred(rows):
    return {
        (row.index, t): row.reward - statistics.mean(row.mates) for row in rows for t in row.tokens
    }


def surrogate(rows, new, advantages):
    total = 0.0
    for row in rows:
        for t in row.tokens:
            advantage, ratio = advantages[row.index, t], math.exp(new[row.index][t] - row.old[t])
            total += min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)
    return total


def by_hand(rows, new, sg):
    advantages = whitened(returns(rows))
    return -surrogate(rows, new, advantages) / len(advantages)


def baseline_by_hand(rows, new, sg):
    advantages = whitened(centred(rows))
    kl = sum((new[r.index][t] - r.ref[t]) ** 2 / 2 for r in rows for t in r.tokens)
    return (0.2 * kl - surrogate(rows, new, advantages)) / len(advantages)


def test_reproduces_the_golden_loss_and_advantages(reproduces):
    reproduces(compose("reinforce_pp"), "reinforce_pp.loss")


def test_reproduces_the_golden_advantages(golden, golden_batch):
    case = golden("reinforce_pp.adv")
    _, batch = golden_batch("F1", torch.float64)
    actual = compose("reinforce_pp", knobs={"kl_coef": case["config"]["beta"]}).prepare(batch)
    expected = torch.tensor(case["expected"]["advantages"], dtype=torch.float64)
    torch.testing.assert_close(actual.advantages, expected, rtol=1e-9, atol=1e-9)


def test_reproduces_the_golden_advantages_of_the_baseline(golden, golden_batch, precision):
    dtype, tolerance = precision
    _, batch = golden_batch("F1", dtype)
    actual = compose("reinforce_pp_baseline").prepare(batch).advantages
    expected = golden("reinforce_pp.baseline_adv")["expected"]["advantages"]
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=dtype), **close)


@pytest.mark.parametrize("seed", range(2))
def test_agrees_with_the_equations_worked_by_hand(random_batch, agrees_by_hand, seed):
    algorithm = compose("reinforce_pp", knobs={"kl_coef": 0.2, "gamma": 0.9})
    agrees_by_hand(algorithm, by_hand, *random_batch(seed))


@pytest.mark.parametrize("seed", range(2))
def test_the_baseline_agrees_with_its_equations(random_batch, agrees_by_hand, seed):
    algorithm = compose("reinforce_pp_baseline", knobs={"kl_coef": 0.2})
    agrees_by_hand(algorithm, baseline_by_hand, *random_batch(seed))


@pytest.mark.parametrize("name", ["reinforce_pp", "reinforce_pp_baseline"])
def test_equal_rewards_teach_nothing(random_batch, name):
    _, batch = random_batch()
    batch = batch.replace(rewards=torch.full_like(batch.rewards, 0.7).float())
    advantages = compose(name, knobs={"kl_coef": 0}).prepare(batch).advantages
    assert advantages.abs().max() < 1e-9


def test_needs_a_reference_only_for_the_kl():
    for name in ("reinforce_pp", "reinforce_pp_baseline"):
        assert compose(name).requires == {"old_logprobs", "reference"}
        assert compose(name, knobs={"kl_coef": 0}).requires == {"old_logprobs"}


def test_only_the_kl_in_the_reward_is_needed_before_the_loss():
    assert compose("reinforce_pp").prepare_requires == {"old_logprobs", "reference"}
    assert compose("reinforce_pp_baseline").prepare_requires == set()


@pytest.mark.parametrize("knobs", [{"value_coef": 0.1}, {"lam": 0.9}, {"value_clip": 0.1}])
def test_refuses_the_knobs_of_a_critic(knobs):
    with pytest.raises(AnypoError, match=next(iter(knobs))):
        compose("reinforce_pp", knobs=knobs)


def test_takes_any_number_of_completions_to_a_prompt():
    assert compose("reinforce_pp").knobs["group_size"].value == 1
    assert compose("reinforce_pp_baseline").knobs["group_size"].value == 8
