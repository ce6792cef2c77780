import pytest
import torch

from anypo import compose


def test_reproduces_the_loss_of_the_paper(reproduces_paper):
    reproduces_paper(compose("opo"), "opo")


def test_the_baseline_is_the_mean_reward_of_the_tokens_of_a_group(random_batch):
    _, batch = random_batch()
    advantages = compose("opo").prepare(batch).advantages[:, 0].tolist()
    rows = list(
        zip(batch.rewards.tolist(), batch.lengths.tolist(), batch.group.tolist(), strict=True)
    )
    for i, (reward, length, group) in enumerate(rows):
        tokens = [r for r, n, g in rows if g == group for _ in range(n)]
        if length:
            assert advantages[i] == pytest.approx(reward - sum(tokens) / len(tokens))


def test_equal_rewards_teach_nothing_in_float32_either(random_batch):
    _, batch = random_batch()
    equal = batch.replace(rewards=torch.full((len(batch),), 0.7))
    assert not compose("opo").prepare(equal).advantages.any()
