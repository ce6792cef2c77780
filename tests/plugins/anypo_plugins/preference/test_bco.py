import math
from statistics import fmean

import pytest
import torch

from anypo import Prompt, compose
from anypo.hooks.batch import Completion


def drift(row):
    return sum(row.new) - sum(row.ref)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def by_hand(pairs):
    return fmean(
        -math.log(sigmoid(0.3 * drift(w))) - math.log(sigmoid(-0.3 * drift(z))) for w, z in pairs
    )


def test_reproduces_the_golden_numbers(reproduces_paper):
    reproduces_paper(compose("bco_pair"), "bco_pair")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_pair_by_pair, seed):
    algorithm = compose("bco_pair", knobs={"beta": 0.3})
    agrees_pair_by_pair(algorithm, by_hand, *random_pairs(seed))


@pytest.fixture
def labelled_batch(random_batch):
    """Makes log-probs and a batch of which some completions are good."""

    def make(seed):
        logprobs, batch = random_batch(seed)
        return logprobs, batch.replace(label=torch.tensor([1.0, -1, -1, 1, 1, -1, 1, -1, -1, 1]))

    return make


def bco_by_hand_after(drifts):
    def by_hand(rows, new, sg):
        so_far = [*drifts, *(sum(r.old[t] - r.ref[t] for t in r.tokens) for r in rows)]
        z0, losses = fmean(so_far), []
        for row in filter(lambda row: row.tokens, rows):
            gap = sum(new[row.index][t] - row.ref[t] for t in row.tokens) - z0
            weight = 1.2 if row.label > 0 else 0.7
            losses.append(-weight * math.log(sigmoid(0.3 * row.label * gap)))
        return fmean(losses)

    return by_hand


@pytest.mark.parametrize("seed", range(2))
def test_bco_counts_rewards_from_the_mean_of_all_so_far(labelled_batch, agrees_by_hand, seed):
    knobs = {"beta": 0.3, "desirable_weight": 1.2, "undesirable_weight": 0.7}
    algorithm, state = compose("bco", knobs=knobs), {}
    _, earlier = labelled_batch(seed + 5)
    algorithm.prepare(earlier, state)
    drifts = (earlier.old_logprobs - earlier.ref_logprobs).sum(-1).tolist()
    logprobs, batch = labelled_batch(seed)
    agrees_by_hand(algorithm, bco_by_hand_after(drifts), logprobs, batch, state=state)


def test_every_labelled_row_is_a_sample_and_none_is_mismatched():
    prompts = [
        Prompt([1, i], "", {"label": i == 0}, {"completion": Completion([10 + i])})
        for i in range(2)
    ]
    samples = compose("bco").rollout(prompts, None, None, {})
    assert [s.completion_ids for s in samples] == [[10], [11]]
    assert [s.columns["label"] for s in samples] == [1.0, -1.0]
