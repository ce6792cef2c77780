from statistics import fmean

import pytest
import torch

from anypo import compose


def by_hand(rows, new, sg):
    pairs = {}
    for row in rows:
        ratio = sum(new[row.index][t] - row.old[t] for t in row.tokens)
        pairs.setdefault(row.group, {})[row.preference] = (ratio, row.reward)
    return fmean(
        ((pair[1.0][0] - pair[-1.0][0]) / 0.4 - (pair[1.0][1] - pair[-1.0][1])) ** 2
        for pair in pairs.values()
    )


@pytest.fixture
def rewarded(random_pairs):
    logprobs, batch = random_pairs()
    rewards = torch.linspace(-1, 2, len(batch), dtype=torch.float64)
    return logprobs, batch.replace(rewards=rewards, old_logprobs=batch.ref_logprobs)


def test_agrees_with_the_equation_worked_by_hand(rewarded, agrees_by_hand):
    agrees_by_hand(compose("rebel", knobs={"eta": 0.4}), by_hand, *rewarded)


def test_is_done_where_log_ratios_differ_as_rewards_do(one_pair, loss_and_gradient):
    logprobs, batch = one_pair(0.5, 0.2)
    batch = batch.replace(old_logprobs=batch.ref_logprobs, rewards=torch.tensor([1.0, 0.4]))
    algorithm = compose("rebel", knobs={"eta": 0.5})
    loss, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert loss.total.item() == pytest.approx(0, abs=1e-12)
    assert gradient.flatten().tolist() == pytest.approx([0, 0], abs=1e-6)
