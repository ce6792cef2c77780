import math
import statistics

import pytest
import torch

from anypo import Batch, Sample, collate, compose
from anypo import functional as F

WEIGHTS = {"correct": 2.0, "brief": 0.5}
CORRECT = [1.0, 0.0, 1.0, math.nan, 1.0, 0.0, 1.0, math.nan, 0.0, 0.0]
BRIEF = [-30.0, 10.0, 4.0, 8.0, 2.0, 7.0, 7.0, -5.0, 0.5, math.nan]


def scored(batch, shaping=0.0, weights=WEIGHTS):
    """The batch with two scores, of which some do not apply, and the reward that they add up to."""
    scores = {
        "correct": torch.tensor(CORRECT, dtype=torch.float64),
        "brief": torch.tensor(BRIEF, dtype=torch.float64),
    }
    rewards = sum(weights[name] * x.nan_to_num() for name, x in scores.items())
    return batch.replace(scores=scores, score_weights=weights, rewards=rewards + shaping)


def standardized(numbers, eps=1e-6):
    spread = statistics.stdev(numbers.values()) if len(numbers) > 1 else 0.0
    mean = statistics.mean(numbers.values())
    return {at: (x - mean) / (spread + eps) for at, x in numbers.items()}


def advantages(rows, *weighted):
    """By row, from (weight, score of each row) pairs."""
    total = dict.fromkeys((row.index for row in rows), 0.0)
    for group in {row.group for row in rows}:
        mates = [row.index for row in rows if row.group == group]
        for weight, scores in weighted:
            applies = {i: scores[i] for i in mates if not math.isnan(scores[i])}
            for i, advantage in standardized(applies).items() if applies else ():
                total[i] += weight * advantage
    return standardized(total)


def by_hand(rows, new, sg):
    judged, counted = advantages(rows, (2.0, CORRECT), (0.5, BRIEF)), [r for r in rows if r.tokens]
    total = 0.0
    for row in counted:
        for t in row.tokens:
            ratio, advantage = math.exp(new[row.index][t] - row.old[t]), judged[row.index]
            gain = min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)
            total += gain / len(row.tokens)
    return -total / len(counted)


def test_agrees_with_the_equations_worked_by_hand(random_batch, agrees_by_hand):
    logprobs, batch = random_batch()
    algorithm = compose("gdpo", knobs={"kl_coef": 0.0})
    agrees_by_hand(algorithm, by_hand, logprobs, scored(batch))


def pair(names):
    """Two completions to each of two prompts, with the scores of the given rewards."""
    scores = {
        "a": torch.tensor([0.0, 1.0, 0.0, 2.0]),
        "b": torch.tensor([0.0, 0.0, 0.0, 1.0]),
    }
    scores = {name: scores[name] for name in names}
    group, mask = torch.tensor([0, 0, 1, 1]), torch.ones(4, 1).bool()
    return Batch(mask=mask, group=group, scores=scores, rewards=sum(scores.values()))


def test_tells_apart_what_a_sum_of_rewards_does_not():
    batch = pair("ab")
    together = compose("grpo").prepare(batch).advantages.flatten()
    apart = compose("gdpo").prepare(batch).advantages.flatten()
    torch.testing.assert_close(together[1], together[3])
    torch.testing.assert_close(2 * apart[1], apart[3])


def test_one_reward_leaves_the_advantages_of_grpo():
    batch, knobs = pair("a"), {"batch_normalize": False}
    expected = compose("grpo").prepare(batch).advantages
    torch.testing.assert_close(compose("gdpo", knobs=knobs).prepare(batch).advantages, expected)


def test_the_scale_does_not_grow_with_the_number_of_rewards(random_batch):
    _, batch = random_batch()
    spread = {
        normalize: compose("gdpo", knobs={"batch_normalize": normalize})
        .prepare(scored(batch).replace(mask=torch.ones_like(batch.mask)))
        .advantages[:, 0]
        .std()
        .item()
        for normalize in (True, False)
    }
    assert spread[True] == pytest.approx(1.0, abs=1e-5)
    assert spread[False] > 1.1


def test_a_reward_that_applies_to_no_row_changes_nothing(random_batch):
    _, batch = random_batch()
    batch = scored(batch)
    nowhere = torch.full_like(batch.rewards, torch.nan)
    more = batch.replace(
        scores={**batch.scores, "off": nowhere}, score_weights={**WEIGHTS, "off": 9.0}
    )
    actual, expected = (compose("gdpo").prepare(x).advantages for x in (more, batch))
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_what_shaping_added_counts_as_one_more_reward(random_batch):
    _, batch = random_batch()
    penalties = [0.0, -1.0, -0.5, -0.75, 0.0, -0.25, 0.0, 0.0, -1.0, -0.5]
    shaped = scored(batch, torch.tensor(penalties))
    as_score = scored(batch).replace(
        scores={**shaped.scores, "penalty": torch.tensor(penalties, dtype=torch.float64)},
        score_weights={**WEIGHTS, "penalty": 1.0},
        rewards=shaped.rewards,
    )
    actual, expected = (compose("gdpo").prepare(x).advantages for x in (shaped, as_score))
    torch.testing.assert_close(actual, expected)
    assert not torch.allclose(actual, compose("gdpo").prepare(scored(batch)).advantages)


def test_rounding_of_the_reward_is_no_shaping(random_batch):
    _, batch = random_batch()
    sizes = sum(abs(WEIGHTS[k] * x.nan_to_num()) for k, x in scored(batch).scores.items())
    rounded = scored(batch, 5e-7 * sizes * torch.linspace(-1, 1, len(batch)))
    actual, expected = (compose("gdpo").prepare(x).advantages for x in (rounded, scored(batch)))
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_rounding_of_large_scores_is_no_shaping():
    scores = {"points": [1000.3, 3999.7, 1001.1, 5000.2], "length": [1203.3, 877.1, 900.7, 950.9]}
    weights = {"points": 0.7, "length": 0.3}
    rows = zip(*scores.values(), strict=True)
    samples = [
        Sample([1], [2], 0, 0.7 * p + 0.3 * n, {"points": p, "length": n}, score_weights=weights)
        for p, n in rows
    ]
    batch = collate(samples)
    alone = [
        weights[name] * F.group_standardize(batch.scores[name], batch.group) for name in weights
    ]
    advantages = compose("gdpo", knobs={"batch_normalize": False}).prepare(batch).advantages
    torch.testing.assert_close(advantages.squeeze(-1), sum(alone), rtol=1e-6, atol=1e-6)


def test_shaping_far_smaller_than_the_scores_of_other_batches_counts():
    small = Batch(
        mask=torch.ones(2, 1).bool(),
        group=torch.zeros(2, dtype=torch.long),
        scores={"a": torch.tensor([1e-5, 1e-5])},
        rewards=torch.tensor([1e-5, 5e-5]),
    )
    advantages = compose("gdpo").prepare(small).advantages.flatten()
    assert advantages[1] > 0.5 > -0.5 > advantages[0]


def test_goes_on_top_of_other_group_algorithms():
    for base in ("dapo", "dr_grpo", "gspo", "cispo"):
        assert compose(base, "gdpo").requires == {"old_logprobs"}
    assert compose("gdpo").requires == {"old_logprobs", "reference"}
