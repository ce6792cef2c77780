import math
import statistics

import pytest
import torch

from anypo import AnypoError, Batch, collate, compose
from anypo.hooks.batch import Sample, step_columns

STEPS = {  # of the rows of random_batch: index of the last token, reward
    0: {1: 0.5, 3: -0.2, 5: 0.9},
    1: {2: 0.4},
    3: {0: 0.25, 4: 0.25},
    4: {1: 0.8},  # the only step of its group
    6: {2: -1.0},
    7: {1: 0.25},
    8: {0: 0.3, 3: 0.1},
}  # rows 2 and 5 and 9 have none


def stepped(batch, steps, dtype=torch.float64):
    """The batch with the columns that step rewards arrive in."""
    rewards, ends = torch.zeros(2, *batch.mask.shape, dtype=dtype)
    for row, by_end in steps.items():
        for end, reward in by_end.items():
            rewards[row, end], ends[row, end] = reward, 1.0
    return batch.replace(step_rewards=rewards, step_ends=ends)


def golden_inputs(case, dtype=torch.float64):
    inputs = case["inputs"]
    pairs = zip(inputs["step_end"], inputs["step_reward"], strict=True)
    steps = {i: dict(zip(ends, rewards, strict=True)) for i, (ends, rewards) in enumerate(pairs)}
    mask, group = torch.tensor(inputs["mask"]).bool(), torch.tensor(inputs["group"])
    rewards = torch.tensor([1.0, 0.0, 0.5], dtype=dtype)
    return stepped(Batch(mask=mask, group=group, rewards=rewards), steps, dtype)


def advantages(rows, outcome, mean):
    """By row and token, from the steps that end at it or later."""
    steps = [(row, end, reward) for row in rows for end, reward in STEPS.get(row.index, {}).items()]
    if outcome:
        steps += [(row, row.tokens[-1], row.reward) for row in rows if row.tokens]
    result = {}
    for row in rows:
        pool = [reward for other, _, reward in steps if other.group == row.group]
        for t in row.tokens:
            ahead = [r for other, end, r in steps if other is row and end >= t]
            spread = statistics.stdev(pool) if len(pool) > 1 else 0.0
            scaled = [(r - statistics.mean(pool)) / (spread + 1e-6) for r in ahead]
            result[row.index, t] = sum(scaled) / (len(scaled) if mean and scaled else 1)
    return result


def by_hand_with(outcome, mean):
    def by_hand(rows, new, sg):
        judged, counted = advantages(rows, outcome, mean), [row for row in rows if row.tokens]
        total = 0.0
        for row in counted:
            for t in row.tokens:
                ratio, advantage = math.exp(new[row.index][t] - row.old[t]), judged[row.index, t]
                gain = min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)
                total += gain / len(row.tokens)
        return -total / len(counted)

    return by_hand


@pytest.mark.parametrize(
    ("knobs", "key"),
    [({}, "advantages"), ({"std_correction": 0}, "advantages_population_std")],
)
def test_reproduces_the_golden_advantages(golden, knobs, key, precision):
    dtype, tolerance = precision
    case = golden("grpo_process.adv")
    actual = compose("grpo_process", knobs=knobs).prepare(golden_inputs(case, dtype)).advantages
    expected = torch.tensor(case["expected"][key], dtype=dtype)
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("outcome", [False, True])
@pytest.mark.parametrize("remaining", ["sum", "mean"])
def test_agrees_with_the_equations_worked_by_hand(random_batch, agrees_by_hand, outcome, remaining):
    logprobs, batch = random_batch()
    knobs = {"kl_coef": 0.0, "outcome_step": outcome, "remaining": remaining}
    by_hand = by_hand_with(outcome, remaining == "mean")
    agrees_by_hand(compose("grpo_process", knobs=knobs), by_hand, logprobs, stepped(batch, STEPS))


def test_rows_without_a_step_and_tokens_after_the_last_one_learn_nothing(random_batch):
    _, batch = random_batch()
    judged = compose("grpo_process").prepare(stepped(batch, STEPS)).advantages
    assert not judged[[2, 5, 9]].any()
    assert judged[6, :3].all()
    assert not judged[6, 3:].any()


def test_a_group_with_one_step_or_equal_steps_learns_nothing(random_batch):
    _, batch = random_batch()
    judged = compose("grpo_process").prepare(stepped(batch, STEPS)).advantages
    assert not judged[(batch.group == 5) | (batch.group == 9)].any()


@pytest.mark.parametrize("outcome", [False, True])
def test_a_batch_without_a_step_or_token_learns_nothing(random_batch, outcome):
    _, batch = random_batch()
    batch = stepped(batch.replace(mask=torch.zeros_like(batch.mask)), STEPS)
    algorithm = compose("grpo_process", knobs={"outcome_step": outcome})
    assert not algorithm.prepare(batch).advantages.any()


def test_reads_the_columns_that_step_rewards_arrive_in():
    samples = [
        Sample([1], [2, 3, 4], group=0, reward=1.0, columns=step_columns(3, [(0, 1.0), (2, 0.0)])),
        Sample([1], [2, 3], group=0, reward=2.0, columns=step_columns(2, [(1, 2.0)])),
    ]
    judged = compose("grpo_process").prepare(collate(samples)).advantages
    expected = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 0.0]])
    torch.testing.assert_close(judged, expected, rtol=1e-5, atol=1e-5)


def test_a_ratio_per_sequence_is_refused():
    with pytest.raises(AnypoError, match="one ratio per sequence"):
        compose("grpo_process", "gspo")


def test_goes_under_a_ratio_per_token():
    assert compose("grpo_process", "gspo_token").requires == {"old_logprobs"}
