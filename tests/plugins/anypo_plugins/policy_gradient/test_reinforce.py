import pytest
import torch

from anypo import AnypoError, compose


def by_hand(rows, new, sg):
    baseline = sum(row.reward for row in rows) / len(rows)
    counted = [row for row in rows if row.tokens]
    gain = sum((row.reward - baseline) * new[row.index][t] for row in counted for t in row.tokens)
    return -gain / len(counted)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("reinforce"), by_hand, *random_batch(seed))


def test_the_baseline_is_the_running_mean_of_earlier_steps(random_batch):
    _, batch = random_batch()
    algorithm, state = compose("reinforce", knobs={"decay": 0.75}), {}
    mean = None
    for step in range(4):
        rewards = batch.rewards + step
        now = float(rewards.mean())
        mean = now if mean is None else mean
        advantages = algorithm.advantage(batch.replace(rewards=rewards), state).advantages[:, 0]
        expected = torch.where(batch.lengths > 0, rewards - mean, 0)
        torch.testing.assert_close(advantages, expected)
        mean = 0.75 * mean + 0.25 * now


def test_the_gradient_does_not_hang_on_how_far_the_policy_has_moved(
    random_batch, loss_and_gradient
):
    logprobs, batch = random_batch()
    algorithm = compose("reinforce")
    prepared = algorithm.prepare(batch)
    gradients = [loss_and_gradient(algorithm, x, prepared)[1] for x in (logprobs, logprobs - 1)]
    torch.testing.assert_close(*gradients)
    assert gradients[0].any()


@pytest.mark.parametrize("knobs", [{"clip_low": 0.1}, {"decay": 1.0}, {"kl_coef": 0.1}])
def test_refuses_knobs_without_an_effect_or_out_of_range(knobs):
    with pytest.raises(AnypoError, match=next(iter(knobs))):
        compose("reinforce", knobs=knobs)
