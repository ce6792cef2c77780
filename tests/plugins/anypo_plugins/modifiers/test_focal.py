import pytest
import torch

from anypo import Batch, compose


def prepared(rewards, group, **knobs):
    rows = len(rewards)
    batch = Batch(
        mask=torch.ones(rows, 2).bool(),
        group=torch.tensor(group),
        rewards=torch.tensor(rewards, dtype=torch.float64),
        old_logprobs=torch.zeros(rows, 2),
    )
    return [
        algorithm.prepare(batch).advantages[:, 0]
        for algorithm in (compose("dapo", "focal", knobs=knobs), compose("dapo"))
    ]


def test_what_is_mostly_solved_counts_less():
    rewards = [1.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0]
    found, plain = prepared(rewards, [0] * 4 + [1] * 4, focal_gamma=2.0)
    weights = [(1 - 3 / 4) ** 2] * 4 + [(1 - 1 / 4) ** 2] * 4
    torch.testing.assert_close(found, torch.tensor(weights) * plain)


@pytest.mark.parametrize(("right", "share"), [(1.0, 1 / 3), (0.3, 2 / 3)])
def test_what_is_right_can_be_said(right, share):
    found, plain = prepared([2.5, 0.3, -4.0], [5, 5, 5], focal_right=right)
    torch.testing.assert_close(found, (1 - share) ** 0.5 * plain)


def test_a_group_that_is_all_right_teaches_nothing():
    found, plain = prepared([1.0, 1.5], [0, 0])
    assert plain.any()
    assert not found.any()
