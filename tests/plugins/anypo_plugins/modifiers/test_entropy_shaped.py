import math
from statistics import fmean

import pytest
import torch

from anypo import compose

KNOBS = {"shape_alpha": 0.8, "shape_kappa": 3.0}


@pytest.fixture
def undecided_batch(random_batch):
    """Makes log-probs and a batch with entropies before the update of up to a nat."""

    def make(seed=0):
        logprobs, batch = random_batch(seed)
        random = torch.Generator().manual_seed(seed)
        entropy = torch.rand(batch.mask.shape, generator=random).double()
        steps = {"step_rewards": entropy.flip(0), "step_ends": batch.mask.double()}
        return logprobs, batch.replace(old_entropy=entropy, **steps)

    return make


def by_hand(rows, new, sg):
    gains = []
    for row in rows:
        for t in row.tokens:
            advantage = row.advantage + min(0.8 * row.entropy[t], abs(row.advantage) / 3)
            ratio = math.exp(new[row.index][t] - row.old[t])
            gains.append(min(ratio * advantage, min(max(ratio, 0.8), 1.28) * advantage))
    return -fmean(gains)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(undecided_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("dapo", "entropy_shaped", knobs=KNOBS), by_hand, *undecided_batch(seed))


@pytest.mark.parametrize("base", ["grpo", "ppo", "grpo_process"])
def test_undecided_tokens_count_for_more_up_to_a_bound_of_any_advantage(undecided_batch, base):
    _, batch = undecided_batch()
    found = compose(base, "entropy_shaped", knobs=KNOBS).prepare(batch).advantages
    plain = compose(base).prepare(batch).advantages
    bounded = 0
    for i, t in batch.mask.nonzero().tolist():
        a, bonus = plain[i, t].item(), 0.8 * batch.old_entropy[i, t].item()
        assert found[i, t].item() == pytest.approx(a + min(bonus, abs(a) / 3), abs=1e-12)
        bounded += bonus > abs(a) / 3
    assert 0 < bounded < batch.mask.sum()


def test_requires_the_entropy_before_the_update_alone():
    assert {"old_entropy", "entropy"} & compose("dapo", "entropy_shaped").requires == {
        "old_entropy"
    }
