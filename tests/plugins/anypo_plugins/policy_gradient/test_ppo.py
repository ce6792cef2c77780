import math
import statistics

import pytest
import torch

from anypo import AnypoError, Batch, compose
from anypo import functional as F

KNOBS = {"kl_coef": 0.3, "gamma": 0.9, "lam": 0.8}
ADAPTIVE = {"kl_coef": 0.1, "kl_target": 6.0}  # with the default horizon


def tensor(numbers, dtype=torch.float64):
    return torch.tensor(numbers, dtype=dtype)


def moved(values):
    """New values of the critic, some within value_clip and some beyond."""
    return values + torch.linspace(-0.5, 0.5, values.numel()).view(values.shape)


def advantages_and_returns(rows, values):
    """By row and token; A_t is the sum of (gamma lam)^k delta_(t + k)."""
    estimates = {}
    for row in rows:
        v = [values[row.index][t] for t in row.tokens] + [0.0]
        r = [-0.3 * (row.old[t] - row.ref[t]) for t in row.tokens]
        if r:
            r[-1] += row.reward
        delta = [r[i] + 0.9 * v[i + 1] - v[i] for i in range(len(r))]
        for i, t in enumerate(row.tokens):
            total = sum((0.9 * 0.8) ** (j - i) * delta[j] for j in range(i, len(r)))
            estimates[row.index, t] = (total, total + v[i])
    raw = [estimate for estimate, _ in estimates.values()]
    mean, spread = statistics.mean(raw), math.sqrt(statistics.variance(raw) + 1e-8)
    return {at: ((raw - mean) / spread, target) for at, (raw, target) in estimates.items()}


def by_hand_with(old_values, value_clip, coef=0.1):
    judged = {}

    def by_hand(rows, new, sg, values):
        judged.update(judged or advantages_and_returns(rows, old_values))
        total = 0.0
        for row in rows:
            for t in row.tokens:
                advantage, target = judged[row.index, t]
                ratio = math.exp(new[row.index][t] - row.old[t])
                value, before = values[row.index][t], old_values[row.index][t]
                total -= min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)
                errors = [value - target]
                if value_clip:
                    near = min(max(value, before - value_clip), before + value_clip)
                    errors.append(near - target)
                total += coef / 2 * max(error**2 for error in errors)
        return total / len(judged)

    return by_hand


def tiny_batch(rewards, values, mask, dtype):
    return Batch(
        mask=torch.tensor(mask).bool(),
        group=torch.arange(len(rewards)),
        rewards=tensor(rewards, dtype),
        values=tensor(values, dtype),
    )


def test_reproduces_the_golden_step(golden, golden_batch, fixtures, loss_and_gradient, precision):
    dtype, tolerance = precision
    expected, estimates = golden("ppo.full")["expected"], golden("gae.kl_in_reward")["expected"]
    close = {"rtol": tolerance, "atol": tolerance}
    logprobs, batch = golden_batch("F1", dtype)
    algorithm = compose("ppo")
    prepared = algorithm.prepare(batch)
    for name in ("advantages", "returns"):
        torch.testing.assert_close(prepared[name], tensor(estimates[name], dtype), **close)
    values = tensor(fixtures["F1"]["vpred"], dtype).requires_grad_()
    loss, gradient = loss_and_gradient(algorithm, logprobs, prepared, values=values)
    torch.testing.assert_close(gradient, tensor(expected["grad_logp_new"], dtype), **close)
    torch.testing.assert_close(values.grad, tensor(expected["grad_vpred"], dtype), **close)
    assert loss.total.item() == pytest.approx(expected["loss"], rel=tolerance)
    assert loss.terms["policy"].item() == pytest.approx(expected["policy_loss"], rel=tolerance)
    value = 0.1 * expected["value_loss"]
    assert loss.terms["value"].item() == pytest.approx(value, rel=tolerance)


def test_values_may_move_freely(golden, golden_batch, fixtures):
    logprobs, batch = golden_batch("F1")
    algorithm = compose("ppo", knobs={"value_clip": 0.0, "value_coef": 1.0})
    values = tensor(fixtures["F1"]["vpred"])
    loss = algorithm.loss(logprobs, algorithm.prepare(batch), values=values)
    expected = golden("ppo.value_unclipped")["expected"]["value_loss"]
    assert loss.terms["value"].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("name", ["gae.length_one", "gae.interior_mask"])
def test_reproduces_golden_returns_of_given_values(golden, name, precision):
    dtype, tolerance = precision
    case = golden(name)
    inputs, expected = case["inputs"], case["expected"]
    rewards = [sum(row) for row in inputs["token_rewards"]]  # each has one, at its last token
    batch = tiny_batch(rewards, inputs["values"], inputs["mask"], dtype)
    prepared = compose("ppo", knobs={**case["config"], "kl_coef": 0.0}).prepare(batch)
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(prepared["returns"], tensor(expected["returns"], dtype), **close)
    raw = F.whiten(tensor(expected["advantages_raw"], dtype), batch.mask)
    torch.testing.assert_close(prepared.advantages, raw, **close)


def test_reproduces_golden_returns_with_a_discount(golden, golden_batch):
    _, batch = golden_batch("F1")
    prepared = compose("ppo", knobs={"kl_coef": 0.0, "gamma": 0.99}).prepare(batch)
    expected = golden("gae.seed_gamma")["expected"]["returns"]
    torch.testing.assert_close(prepared["returns"], tensor(expected), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("value_clip", [0.2, 0.0])
def test_agrees_with_the_equations_worked_by_hand(random_batch, agrees_by_hand, seed, value_clip):
    logprobs, batch = random_batch(seed)
    by_hand = by_hand_with(batch.values.tolist(), value_clip)
    algorithm = compose("ppo", knobs={**KNOBS, "value_clip": value_clip})
    agrees_by_hand(algorithm, by_hand, logprobs, batch, values=moved(batch.values))


def test_the_reward_stands_at_the_last_token_that_the_policy_wrote():
    mask = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 1], [0, 0, 0, 0]]).bool()
    expected = [[0.0, 0.0, 5.0, 0.0], [0.0, 0.0, 0.0, 6.0], [0.0, 0.0, 0.0, 0.0]]
    assert F.at_last_token(torch.tensor([5.0, 6.0, 7.0]), mask).tolist() == expected


def test_a_single_token_is_not_whitened():
    batch = tiny_batch([1.0], [[0.25]], [[1]], torch.float64)
    prepared = compose("ppo", knobs={"kl_coef": 0.0}).prepare(batch)
    assert prepared.advantages.item() == 0.75


def test_pays_for_entropy(random_batch, loss_and_gradient):
    logprobs, batch = random_batch()
    entropy = torch.full_like(logprobs, 2.0).requires_grad_()
    algorithm = compose("ppo", knobs={"entropy_coef": 0.05})
    prepared = algorithm.prepare(batch)
    loss, _ = loss_and_gradient(algorithm, logprobs, prepared, values=batch.values, entropy=entropy)
    assert loss.terms["entropy"].item() == pytest.approx(-0.1)
    torch.testing.assert_close(entropy.grad, -0.05 * F.token_mean(batch.mask))


def test_adapts_the_kl_coefficient_as_the_golden_controller_does(golden):
    case = golden("kl.adaptive_controller")
    config, algorithm, state = case["config"], compose("ppo", knobs=ADAPTIVE), {}
    rows = config["n_steps"]
    for kl, coef in zip(case["inputs"]["observed_kl"], case["expected"]["coef"], strict=True):
        halves = torch.full((rows, 2), kl / 2, dtype=torch.float64)
        mask = torch.ones(rows, 2).bool()
        nothing, group = torch.zeros(rows), torch.arange(rows)
        blank = torch.zeros_like(halves)
        batch = Batch(mask=mask, rewards=nothing, group=group, values=blank, old_logprobs=halves)
        algorithm.advantage(batch.replace(ref_logprobs=blank), state)
        assert state["kl_coef"] == pytest.approx(coef, rel=1e-9)


def test_an_adapted_coefficient_holds_from_the_next_rollout_on(random_batch):
    _, batch = random_batch()
    adaptive, state = compose("ppo", knobs={**ADAPTIVE, "kl_horizon": 10}), {}
    for kl_coef in (0.1, 0.08):  # the KL is far below its target, and the batch is one horizon
        fixed = compose("ppo", knobs={"kl_coef": kl_coef})
        expected = fixed.advantage(batch, {})["returns"]
        torch.testing.assert_close(adaptive.advantage(batch, state)["returns"], expected)


def test_a_coefficient_stays_positive_however_short_its_horizon(random_batch):
    _, batch = random_batch()
    batch = batch.replace(ref_logprobs=batch.old_logprobs)  # far below the target
    for horizon in (1, len(batch) // 5 or 1):
        state = {}
        algorithm = compose("ppo", knobs={**ADAPTIVE, "kl_horizon": horizon})
        algorithm.advantage(batch, state)
        assert state["kl_coef"] == pytest.approx(0.8 * ADAPTIVE["kl_coef"])


def test_a_fixed_coefficient_leaves_no_state(random_batch):
    _, batch = random_batch()
    state = {}
    compose("ppo").advantage(batch, state)
    assert state == {}


@pytest.mark.parametrize(
    ("knobs", "spared"),
    [
        ({}, {"entropy"}),
        ({"kl_coef": 0}, {"entropy", "reference"}),
        ({"entropy_coef": 0.01}, set()),
    ],
)
def test_needs_only_what_its_terms_read(knobs, spared):
    everything = {"old_logprobs", "reference", "critic", "entropy"}
    assert compose("ppo", knobs=knobs).requires == everything - spared


def test_samples_one_completion_to_a_prompt():
    assert compose("ppo").knobs["group_size"].value == 1


@pytest.mark.parametrize(
    "knobs", [{"kl_coef": 0, "kl_target": 6.0}, {"kl_horizon": 100}, {"value_coef": 0.1, "lam": 2}]
)
def test_refuses_knobs_without_an_effect_or_out_of_range(knobs):
    with pytest.raises(AnypoError, match=list(knobs)[-1]):
        compose("ppo", knobs=knobs)
