import math

import pytest
import torch

from anypo import Batch, compose


def by_hand_with(share):
    def by_hand(rows, new, sg):
        places = [(row, t) for row in rows for t in row.tokens]

        def ratio(row, t, logprobs):
            return math.exp(logprobs[row.index][t] - row.old[t])

        def shares(low, high):
            sums = [0.0, 0.0]
            for row, t in places:
                r, size = ratio(row, t, sg), abs(row.advantage) * math.exp(row.old[t])
                sums[row.advantage > 0] += size * (
                    min(r, high) if row.advantage > 0 else max(r, low)
                )
            return sums[1] / sum(sums)

        low, high = 0.6, 1.2
        while shares(low, high) < share and (high < 3.0 or low < 0.9):
            if high < 3.0:
                high = min(high + 0.05, 3.0)
            else:
                low = min(low + 0.02, 0.9)
        gain = 0.0
        for row, t in places:
            r, now = ratio(row, t, new), ratio(row, t, sg)
            learns = now <= high if row.advantage > 0 else now >= low
            gain += r * row.advantage * learns
        return -gain / len(places)

    return by_hand


@pytest.mark.parametrize("share", [0.0, 0.4, 0.5, 0.6, 0.99])
@pytest.mark.parametrize("seed", range(2))
def test_agrees_with_the_algorithm_worked_by_hand(random_batch, agrees_by_hand, seed, share):
    logprobs, batch = random_batch(seed)
    algorithm = compose("bapo", knobs={"good_share": share})
    agrees_by_hand(algorithm, by_hand_with(share), logprobs, batch, now={"logprobs": logprobs})


def learning(ratios, share):
    """Which of a good and three bad tokens learn, that were equally likely before."""
    old = torch.full((4, 1), -1.0)
    batch = Batch(
        mask=torch.ones(4, 1).bool(),
        group=torch.zeros(4).long(),
        rewards=torch.tensor([1.0, 0.0, 0.0, 0.0]),
        old_logprobs=old,
    )
    algorithm = compose("bapo", knobs={"good_share": share})
    now = old + torch.tensor(ratios).log().view(4, 1)
    return (algorithm.prepare(batch, logprobs=now).weights["policy"] > 0)[:, 0].tolist()


@pytest.mark.parametrize(
    ("share", "learns"),
    [
        (0.59, [False, False, True, True]),  # 1.5 * 1.2 of 3 * 1, (0.6 + 0.8 + 1) / 2 being lost
        (0.65, [False, False, True, True]),  # the upper bound rises to 1.5, which is enough
        (0.676, [True, False, True, True]),  # or to 1.7
        (0.7, [True, False, False, True]),  # or as far as it may, and then the lower one
    ],
)
def test_the_upper_bound_rises_first_and_then_the_lower_one(share, learns):
    assert learning([1.68, 0.5, 0.8, 1.0], share) == learns


def test_where_nothing_is_good_the_bounds_go_as_far_as_they_may_and_no_further():
    assert learning([1.0, 0.89, 0.91, 1.0], 0.99) == [True, False, True, True]
