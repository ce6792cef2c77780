import statistics

import pytest

from anypo import compose


def test_reproduces_the_loss_of_the_paper(reproduces_paper):
    reproduces_paper(compose("lite_ppo"), "lite_ppo")


def test_the_mean_is_that_of_the_group_and_the_deviation_that_of_the_batch(random_batch):
    _, batch = random_batch()
    rewards, groups = batch.rewards.tolist(), batch.group.tolist()
    spread = statistics.stdev(rewards)
    advantages = compose("lite_ppo").prepare(batch).advantages[:, 0].tolist()
    for i, (reward, group) in enumerate(zip(rewards, groups, strict=True)):
        mates = [r for r, g in zip(rewards, groups, strict=True) if g == group]
        if batch.mask[i, 0]:
            wanted = (reward - statistics.mean(mates)) / spread
            assert advantages[i] == pytest.approx(wanted, abs=1e-5)
