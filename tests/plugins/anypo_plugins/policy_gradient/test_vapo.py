import math
import statistics

import pytest
import torch

from anypo import AnypoError, compose

KNOBS = {"length_alpha": 0.4, "lam": 0.9, "gamma": 0.95, "lm_coef": 0.3, "kl_coef": 0.2}


def discounted(row, values, lam):
    """(A, A + V) of every token, A_t the sum of (gamma lam)^k delta_(t + k)."""
    v = [values[row.index][t] for t in row.tokens] + [0.0]
    r = [-0.2 * (row.old[t] - row.ref[t]) for t in row.tokens]
    if r:
        r[-1] += row.reward
    delta = [r[i] + 0.95 * v[i + 1] - v[i] for i in range(len(r))]
    sums = [
        sum((0.95 * lam) ** (j - i) * delta[j] for j in range(i, len(r))) for i in range(len(r))
    ]
    return [(total, total + v[i]) for i, total in enumerate(sums)]


def by_hand_with(old_values):
    def by_hand(rows, new, sg, values):
        raw, targets = {}, {}
        for row in rows:
            lam = max(0.0, 1 - 1 / (0.4 * max(len(row.tokens), 1)))
            for t, (near, _), (_, far) in zip(
                row.tokens,
                discounted(row, old_values, lam),
                discounted(row, old_values, 0.9),
                strict=True,
            ):
                raw[row.index, t], targets[row.index, t] = near, far
        mean = statistics.mean(raw.values())
        spread = math.sqrt(statistics.variance(raw.values()) + 1e-8)
        right = [row for row in rows if row.reward > 0.5]
        imitated = sum(len(row.tokens) for row in right)
        total = 0.0
        for row in rows:
            for t in row.tokens:
                advantage = (raw[row.index, t] - mean) / spread
                ratio = math.exp(new[row.index][t] - row.old[t])
                value, before = values[row.index][t], old_values[row.index][t]
                near = min(max(value, before - 0.2), before + 0.2)
                target = targets[row.index, t]
                total -= min(ratio * advantage, min(max(ratio, 0.8), 1.28) * advantage)
                total += 0.1 / 2 * max((value - target) ** 2, (near - target) ** 2)
        total /= len(raw)
        return total - 0.3 / imitated * sum(new[row.index][t] for row in right for t in row.tokens)

    return by_hand


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equations_worked_by_hand(random_batch, agrees_by_hand, seed):
    logprobs, batch = random_batch(seed)
    moved = batch.values + torch.linspace(-0.5, 0.5, batch.values.numel()).view(batch.values.shape)
    by_hand = by_hand_with(batch.values.tolist())
    agrees_by_hand(compose("vapo", knobs=KNOBS), by_hand, logprobs, batch, values=moved)


def test_a_batch_without_right_completions_has_nothing_to_imitate(random_batch):
    logprobs, batch = random_batch()
    algorithm = compose("vapo")
    prepared = algorithm.prepare(batch.replace(rewards=torch.zeros_like(batch.rewards)))
    assert algorithm.loss(logprobs, prepared, values=batch.values).terms["lm"].item() == 0


def test_without_imitation_there_is_no_such_term(random_batch):
    logprobs, batch = random_batch()
    algorithm = compose("vapo", knobs={"lm_coef": 0})
    terms = algorithm.loss(logprobs, algorithm.prepare(batch), values=batch.values).terms
    assert set(terms) == {"policy", "value"}


def test_long_completions_are_judged_by_what_comes_late(random_batch):
    _, batch = random_batch()
    short = compose("vapo", knobs={"length_alpha": 1e-3}).prepare(batch).advantages
    far = compose("vapo", knobs={"length_alpha": 1e9}).prepare(batch).advantages
    step = compose("ppo", knobs={"lam": 0.0, "kl_coef": 0}).prepare(batch).advantages
    whole = compose("ppo", knobs={"lam": 1.0, "kl_coef": 0}).prepare(batch).advantages
    torch.testing.assert_close(short, step)
    torch.testing.assert_close(far, whole)


@pytest.mark.parametrize("knobs", [{"length_alpha": 0}, {"lm_coef": -1}, {"kl_target": 6.0}])
def test_refuses_knobs_without_an_effect_or_out_of_range(knobs):
    with pytest.raises(AnypoError, match=next(iter(knobs))):
        compose("vapo", knobs=knobs)
