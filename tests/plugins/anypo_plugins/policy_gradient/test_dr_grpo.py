import math
import statistics

import pytest
import torch

from anypo import AnypoError, Batch, compose


def by_hand(rows, new, sg):
    counted = [row for row in rows if row.tokens]
    total = 0.0
    for row in counted:
        advantage = row.reward - statistics.mean(row.mates)
        for t in row.tokens:
            ratio = math.exp(new[row.index][t] - row.old[t])
            total += min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)
    return -total / (len(counted) * 8)


@pytest.mark.parametrize("name", ["drgrpo.loss", "drgrpo.seq_sum"])
def test_reproduces_the_golden_loss(reproduces, golden, name):
    length = golden(name)["config"].get("L", 1)
    reproduces(compose("dr_grpo"), name, max_completion_length=length)


def test_reproduces_the_golden_advantages(golden, golden_batch):
    _, batch = golden_batch("F1", torch.float64)
    expected = torch.tensor(golden("drgrpo.adv")["expected"]["advantages"], dtype=torch.float64)
    actual = compose("dr_grpo").prepare(batch).advantages[:, 0]
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("dr_grpo"), by_hand, *random_batch(seed))


def test_the_advantage_is_the_reward_less_the_mean_of_its_group(golden):
    case = golden("grpo.adv_unequal_groups")
    rewards = torch.tensor(case["inputs"]["rewards"], dtype=torch.float64)
    mask = torch.ones(len(rewards), 1).bool()
    batch = Batch(mask=mask, rewards=rewards, group=torch.tensor(case["inputs"]["group"]))
    advantages = compose("dr_grpo").prepare(batch).advantages[:, 0]
    wanted = torch.tensor(case["expected"]["advantages_mean_only"], dtype=torch.float64)
    torch.testing.assert_close(advantages, wanted, rtol=1e-9, atol=1e-9)


def test_the_weight_of_a_token_depends_on_the_budget_alone(random_batch):
    _, batch = random_batch()
    weights = compose("dr_grpo").prepare(batch).weights["policy"]
    assert weights[batch.mask].unique().tolist() == pytest.approx([1 / (9 * 8)])
    assert not weights[~batch.mask].any()


def test_needs_no_reference_and_refuses_its_knobs():
    assert compose("dr_grpo").requires == {"old_logprobs"}
    with pytest.raises(AnypoError, match="kl_gradient"):
        compose("dr_grpo", knobs={"kl_gradient": "ratio"})
