import math

import pytest
import torch

from anypo import AnypoError, Batch, compose

VARIANTS = {"rloo.loss_clipped_seq_ratio": {}, "rloo.loss_reinforce": {"loss": "reinforce"}}
ESTIMATES = {
    "k1": lambda d: d,
    "k2": lambda d: d**2 / 2,
    "k3": lambda d: math.exp(-d) + d - 1,
}


def leave_one_out(rows, estimate):
    """By row: its reward less a KL, minus the mean of the others in the group."""
    reward = {
        row.index: row.reward - 0.2 * sum(estimate(row.old[t] - row.ref[t]) for t in row.tokens)
        for row in rows
    }
    advantages = {}
    for row in rows:
        others = [reward[o.index] for o in rows if o.group == row.group and o is not row]
        advantages[row.index] = reward[row.index] - sum(others) / len(others) if others else 0.0
    return advantages


def by_hand_with(loss, estimate):
    def by_hand(rows, new, sg):
        advantages, counted = leave_one_out(rows, estimate), [row for row in rows if row.tokens]
        gain = 0.0
        for row in counted:
            advantage = advantages[row.index]
            total = sum(new[row.index][t] for t in row.tokens)
            ratio = math.exp(total - sum(row.old[t] for t in row.tokens))
            clipped = min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)
            gain += advantage * total if loss == "reinforce" else clipped
        return -gain / len(counted)

    return by_hand


@pytest.mark.parametrize("name", VARIANTS)
def test_reproduces_the_golden_loss(reproduces, name):
    reproduces(compose("rloo", knobs=VARIANTS[name]), name)


@pytest.mark.parametrize(("name", "kl_coef"), [("rloo.adv", 0.0), ("rloo.adv_kl_in_reward", 0.05)])
def test_reproduces_the_golden_advantages(golden, golden_batch, name, kl_coef, precision):
    dtype, tolerance = precision
    _, batch = golden_batch("F1", dtype)
    prepared = compose("rloo", knobs={"kl_coef": kl_coef}).prepare(batch)
    expected = torch.tensor(golden(name)["expected"]["advantages"], dtype=dtype)
    close = {"rtol": tolerance, "atol": tolerance}
    torch.testing.assert_close(prepared.advantages[:, 0], expected, **close)


@pytest.mark.parametrize("estimator", ESTIMATES)
@pytest.mark.parametrize("loss", ["clipped", "reinforce"])
def test_agrees_with_the_equations_worked_by_hand(random_batch, agrees_by_hand, loss, estimator):
    algorithm = compose("rloo", knobs={"loss": loss, "kl_coef": 0.2, "kl_estimator": estimator})
    by_hand = by_hand_with(loss, ESTIMATES[estimator])
    agrees_by_hand(algorithm, by_hand, *random_batch(seed=len(loss), scale=0.1))


def test_both_losses_have_one_gradient_before_the_policy_moves(random_batch, loss_and_gradient):
    _, batch = random_batch()
    gradients = []
    for loss in ("clipped", "reinforce"):
        algorithm = compose("rloo", knobs={"loss": loss})
        prepared = algorithm.prepare(batch)
        gradients.append(loss_and_gradient(algorithm, batch.old_logprobs, prepared)[1])
    torch.testing.assert_close(*gradients)
    assert gradients[0].any()


def test_a_long_completion_cannot_overflow(loss_and_gradient):
    mask = torch.ones(2, 5000).bool()
    old = torch.full(mask.shape, -1.0)
    rewards, group = torch.tensor([1.0, 0.0]), torch.tensor([0, 0])
    batch = Batch(mask=mask, group=group, rewards=rewards, old_logprobs=old)
    algorithm = compose("rloo", knobs={"kl_coef": 0.0})
    loss, gradient = loss_and_gradient(algorithm, old + 1.0, algorithm.prepare(batch))
    assert loss.total.isfinite()
    assert gradient.isfinite().all()


def test_has_no_kl_term_beside_the_reward(random_batch):
    logprobs, batch = random_batch()
    algorithm = compose("rloo")
    assert set(algorithm.loss(logprobs, algorithm.prepare(batch)).terms) == {"policy"}


def test_needs_a_reference_only_for_the_kl_in_the_reward():
    assert compose("rloo").requires == {"old_logprobs", "reference"}
    assert compose("rloo", knobs={"kl_coef": 0}).requires == {"old_logprobs"}


@pytest.mark.parametrize(
    "knobs",
    [
        {"kl_gradient": "k2"},
        {"loss": "reinforce", "clip_low": 0.1},
        {"kl_coef": 0, "kl_estimator": "k3"},
        {"group_size": 1},
    ],
)
def test_refuses_knobs_without_an_effect_or_out_of_range(knobs):
    with pytest.raises(AnypoError, match=list(knobs)[-1]):
        compose("rloo", knobs=knobs)
