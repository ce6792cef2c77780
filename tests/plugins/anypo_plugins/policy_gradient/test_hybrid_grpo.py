import math
import statistics

import pytest
import torch

from anypo import AnypoError, Batch, compose
from anypo import functional as F

VARIANTS = {
    "default_whitened": {},
    "sequence_bandit": {"granularity": "sequence"},
    "state_mean_literal": {"mode": "state_mean"},
    "mix_0.5": {"mode": "mix"},
}


def tensor(numbers, dtype=torch.float64):
    return torch.tensor(numbers, dtype=dtype)


def moved(values):
    """New values of the critic, some within value_clip and some beyond."""
    return values + torch.linspace(-0.5, 0.5, values.numel()).view(values.shape)


def transformed(rows, how):
    rewards = [row.reward for row in rows]
    if how == "batch_std":
        return [reward / statistics.stdev(rewards) for reward in rewards]
    return [math.tanh(row.advantage) if how == "tanh" else row.reward for row in rows]


def estimates(rows, rewards, values):
    """By row and token: A_t as the sum of 0.72^k delta_(t + k), and the return."""
    judged = {}
    for row in rows:
        v = [values[row.index][t] for t in row.tokens] + [0.0]
        n = len(row.tokens)
        delta = [0.9 * v[i + 1] - v[i] + (i == n - 1) * rewards[row.index] for i in range(n)]
        for i, t in enumerate(row.tokens):
            total = sum(0.72 ** (j - i) * delta[j] for j in range(i, n))
            judged[row.index, t] = (total, total + v[i])
    return judged


def judgement(rows, values, mode, how, group_target):
    """By row and token: the advantage, and what the critic learns."""
    rewards = transformed(rows, how)
    known = estimates(rows, rewards, values)
    raw = [estimate for estimate, _ in known.values()]
    mean, spread = statistics.mean(raw), math.sqrt(statistics.variance(raw) + 1e-8)
    # A row without a token has no first value: it counts as 0.
    bracket = [rewards[r.index] - (values[r.index][r.tokens[0]] if r.tokens else 0) for r in rows]
    judged = {}
    for row in rows:
        mates = [r.index for r in rows if r.group == row.group]
        for t in row.tokens:
            estimate, target = known[row.index, t]
            whitened = (estimate - mean) / spread
            advantage = {
                "sample": whitened,
                "sequence": bracket[row.index],
                "state_mean": statistics.mean(bracket[i] for i in mates),
                "mix": 0.3 * row.advantage + 0.7 * whitened,
            }[mode]
            if group_target:
                target = statistics.mean(rewards[i] for i in mates)
            judged[row.index, t] = advantage, target
    return judged


def by_hand_with(old_values, mode="sample", how="identity", group_target=False):
    judged = {}

    def by_hand(rows, new, sg, values):
        judged.update(judged or judgement(rows, old_values, mode, how, group_target))
        total = 0.0
        for row in rows:
            for t in row.tokens:
                advantage, target = judged[row.index, t]
                ratio = math.exp(new[row.index][t] - row.old[t])
                value, before = values[row.index][t], old_values[row.index][t]
                near = min(max(value, before - 0.2), before + 0.2)
                total -= min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)
                total += 0.05 * max((value - target) ** 2, (near - target) ** 2)
        return total / len(judged)

    return by_hand


def test_reproduces_the_golden_step(golden, golden_batch, fixtures, loss_and_gradient, precision):
    dtype, tolerance = precision
    expected = golden("hybrid_grpo.full")["expected"]
    close = {"rtol": tolerance, "atol": tolerance}
    logprobs, batch = golden_batch("F1", dtype)
    algorithm = compose("hybrid_grpo")
    values = tensor(fixtures["F1"]["vpred"], dtype).requires_grad_()
    prepared = algorithm.prepare(batch)
    loss, gradient = loss_and_gradient(algorithm, logprobs, prepared, values=values)
    torch.testing.assert_close(gradient, tensor(expected["grad_logp_new"], dtype), **close)
    torch.testing.assert_close(values.grad, tensor(expected["grad_vpred"], dtype), **close)
    assert loss.total.item() == pytest.approx(expected["loss"], rel=tolerance)
    assert loss.terms["policy"].item() == pytest.approx(expected["policy_loss"], rel=tolerance)
    value = 0.1 * expected["value_loss"]
    assert loss.terms["value"].item() == pytest.approx(value, rel=tolerance)


@pytest.mark.parametrize("name", VARIANTS)
def test_reproduces_the_golden_advantages(golden, golden_batch, name, precision):
    dtype, tolerance = precision
    _, batch = golden_batch("F1", dtype)
    actual = compose("hybrid_grpo", knobs=VARIANTS[name]).prepare(batch).advantages
    expected = tensor(golden("hybrid_grpo.adv")["expected"][name], dtype)
    expected = expected if expected.dim() == 2 else expected.view(-1, 1) * batch.mask
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("knobs", "name"),
    [
        ({}, "value_target_default"),
        ({"lam": 1.0}, "lam1_value_target"),
        ({"value_target": "group_mean"}, "group_mean_value_target"),
    ],
)
def test_reproduces_the_golden_value_targets(golden, golden_batch, knobs, name):
    _, batch = golden_batch("F1")
    actual = compose("hybrid_grpo", knobs=knobs).prepare(batch)["returns"]
    expected = tensor(golden("hybrid_grpo.adv")["expected"][name]) * batch.mask
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


def test_reproduces_the_golden_squashed_rewards(golden, golden_batch):
    _, batch = golden_batch("F1")
    knobs = {"reward_transform": "tanh", "granularity": "sequence"}
    actual = compose("hybrid_grpo", knobs=knobs).prepare(batch).advantages[:, 0]
    rewards = tensor(golden("hybrid_grpo.adv")["expected"]["tanh_group_reward"])
    torch.testing.assert_close(actual, rewards - batch.values[:, 0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("knobs", "by_hand"),
    [
        ({}, {}),
        ({"granularity": "sequence"}, {"mode": "sequence"}),
        ({"mode": "state_mean"}, {"mode": "state_mean"}),
        ({"mode": "mix", "mix_weight": 0.3}, {"mode": "mix"}),
        ({"reward_transform": "batch_std"}, {"how": "batch_std"}),
        ({"reward_transform": "tanh"}, {"how": "tanh"}),
        ({"value_target": "group_mean"}, {"group_target": True}),
        (
            {"value_target": "group_mean", "reward_transform": "tanh"},
            {"group_target": True, "how": "tanh"},
        ),
    ],
)
def test_agrees_with_the_equations_worked_by_hand(random_batch, agrees_by_hand, knobs, by_hand):
    logprobs, batch = random_batch(seed=4)
    algorithm = compose("hybrid_grpo", knobs={"gamma": 0.9, "lam": 0.8, **knobs})
    function = by_hand_with(batch.values.tolist(), **by_hand)
    agrees_by_hand(algorithm, function, logprobs, batch, values=moved(batch.values))


def test_without_a_discount_and_with_lam_one_a_token_gets_reward_minus_value(golden, golden_batch):
    _, batch = golden_batch("F1")
    prepared = compose("hybrid_grpo", knobs={"lam": 1.0}).prepare(batch)
    raw = tensor(golden("hybrid_grpo.adv")["expected"]["lam1"])
    torch.testing.assert_close(prepared.advantages, F.whiten(raw, batch.mask))


def test_a_completion_starts_at_its_first_unmasked_token():
    batch = Batch(
        mask=torch.tensor([[0, 1, 1]]).bool(),
        group=torch.tensor([0]),
        rewards=torch.tensor([1.0]),
        values=torch.tensor([[9.0, 0.25, 0.5]]),
    )
    algorithm = compose("hybrid_grpo", knobs={"granularity": "sequence"})
    assert algorithm.prepare(batch).advantages.tolist() == [[0.0, 0.75, 0.75]]


def test_rewards_of_one_row_or_all_equal_are_not_divided_by_their_deviation():
    algorithm = compose(
        "hybrid_grpo", knobs={"reward_transform": "batch_std", "granularity": "sequence"}
    )
    for rows in (1, 3):
        batch = Batch(
            mask=torch.ones(rows, 2).bool(),
            group=torch.zeros(rows).long(),
            rewards=torch.full((rows,), 0.7),
            values=torch.zeros(rows, 2),
        )
        torch.testing.assert_close(algorithm.prepare(batch).advantages, torch.full((rows, 2), 0.7))


def test_needs_a_critic_and_a_reference_only_for_a_kl_penalty():
    assert compose("hybrid_grpo").requires == {"old_logprobs", "critic"}
    knobs = {"kl_coef": 0.01, "value_coef": 0}
    assert compose("hybrid_grpo", knobs=knobs).requires == {"old_logprobs", "critic", "reference"}


@pytest.mark.parametrize(
    "knobs",
    [
        {"mix_weight": 0.3},
        {"mode": "mix", "granularity": "sequence"},
        {"value_coef": 0, "value_clip": 0.1},
    ],
)
def test_refuses_knobs_without_an_effect(knobs):
    with pytest.raises(AnypoError, match=list(knobs)[-1]):
        compose("hybrid_grpo", knobs=knobs)


def test_equal_rewards_have_no_deviation_to_divide_by_in_float32_either(random_batch):
    _, batch = random_batch()
    equal = torch.full((len(batch),), 0.7)
    knobs = {"reward_transform": "batch_std"}
    prepared = compose("hybrid_grpo", knobs=knobs).prepare(batch.replace(rewards=equal))
    assert prepared["returns"].abs().max() < 10
