import math
from statistics import fmean

import pytest
import torch

from anypo import Batch, Prompt, compose
from anypo.hooks.batch import Completion


def drift(row):
    return sum(row.new) - sum(row.ref)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def by_hand(pairs):
    return fmean(
        -math.log(sigmoid(0.3 * drift(w))) - math.log(sigmoid(-0.3 * drift(z))) for w, z in pairs
    )


def labelled_batch(labels, old, ref):
    """One row of one token per label."""
    old, ref = (torch.tensor(x, dtype=torch.float64).unsqueeze(-1) for x in (old, ref))
    return Batch(
        mask=torch.ones_like(old).bool(),
        group=torch.arange(len(labels)),
        label=torch.tensor(labels),
        old_logprobs=old,
        ref_logprobs=ref,
    )


def test_reproduces_the_golden_numbers(reproduces_paper):
    reproduces_paper(compose("bco_pair"), "bco_pair")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, seed):
    algorithm = compose("bco_pair", knobs={"beta": 0.3})
    agrees_pair_by_pair(algorithm, by_hand, *random_pairs(seed))


FIRST = labelled_batch([1.0, -1.0, 1.0], [-1.0, -2.0, -3.0], [-1.5, -1.0, -5.0])  # 0.5, -1, 2
SECOND = labelled_batch([-1.0, 1.0], [-1.0, -1.0], [-4.0, -0.5])  # 3, -0.5


def test_rewards_count_from_the_mean_of_all_so_far(loss_and_gradient):
    algorithm = compose("bco", knobs={"beta": 0.3, "undesirable_weight": 0.5})
    state = {}
    assert algorithm.prepare(FIRST, state)["z0"].tolist() == pytest.approx([0.5] * 3)
    prepared = algorithm.prepare(SECOND, state)
    z0 = (0.5 - 1 + 2 + 3 - 0.5) / 5
    assert prepared["z0"].tolist() == pytest.approx([z0] * 2)
    logprobs = torch.tensor([[-2.0], [-0.25]], dtype=torch.float64)
    loss, gradient = loss_and_gradient(algorithm, logprobs, prepared)
    bad, good = sigmoid(-0.3 * (2.0 - z0)), sigmoid(0.3 * (0.25 - z0))
    assert loss.total.item() == pytest.approx((-0.5 * math.log(bad) - math.log(good)) / 2)
    slopes = [0.5 * 0.3 * (1 - bad) / 2, -0.3 * (1 - good) / 2]
    assert gradient.flatten().tolist() == pytest.approx(slopes)


def test_every_labelled_row_is_a_sample_and_none_is_mismatched():
    prompts = [
        Prompt([1, i], "", {"label": i == 0}, {"completion": Completion([10 + i])})
        for i in range(2)
    ]
    samples = compose("bco").rollout(prompts, None, None, {})
    assert [s.completion_ids for s in samples] == [[10], [11]]
    assert [s.columns["label"] for s in samples] == [1.0, -1.0]
