import pytest
import torch

from anypo import Batch, compose


def batch_of(rewards):
    return Batch(
        mask=torch.ones(len(rewards), 1).bool(),
        group=torch.arange(len(rewards)) // 4,
        rewards=torch.tensor(rewards),
    )


def test_reproduces_the_loss_of_the_paper(reproduces_paper):
    reproduces_paper(compose("maxrl"), "maxrl")


def test_the_rarer_right_answers_are_the_more_one_of_them_counts():
    batch = batch_of([1.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    advantages = compose("maxrl").prepare(batch).advantages[:, 0]
    wanted = [3.0, -1, -1, -1, 1 / 3, 1 / 3, 1 / 3, -1, 0, 0, 0, 0]
    torch.testing.assert_close(advantages, torch.tensor(wanted))


@pytest.mark.parametrize(("shift", "told"), [(0.0, 0), (-1.0, 1)])
def test_rewards_that_are_no_chances_are_told(shift, told):
    state = {}
    rewards = [reward + shift for reward in (1.0, 0.0, 0.0, 0.0)]
    advantages = compose("maxrl").prepare(batch_of(rewards), state).advantages
    assert len(state.get("notes", [])) == told
    assert bool(advantages.any()) is not bool(told)
