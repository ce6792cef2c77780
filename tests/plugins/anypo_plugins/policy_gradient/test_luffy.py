import math
import statistics

import pytest
import torch

from anypo import AnypoError, compose
from anypo.hooks.batch import Completion

SHOWN = [row % 4 == 1 for row in range(10)]


def by_hand(rows, new, sg):
    counted, gain = [row for row in rows if row.tokens], 0.0
    for row in counted:
        advantage = row.reward - statistics.mean(row.mates)
        for t in row.tokens:
            if row.label:
                p = math.exp(new[row.index][t])
                gain += p / (p + 0.2) * advantage
            else:
                ratio = math.exp(new[row.index][t] - row.old[t])
                gain += min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage)
    return -gain / (len(counted) * 8)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equations_worked_by_hand(random_batch, agrees_by_hand, seed):
    logprobs, batch = random_batch(seed)
    shown = torch.tensor(SHOWN).double()
    batch = batch.replace(shown=shown, label=shown)
    agrees_by_hand(compose("luffy", knobs={"shape_gamma": 0.2}), by_hand, logprobs, batch)


def test_the_rows_completion_is_one_of_every_group(deal):
    held = {"completion": Completion([7, 8])}
    algorithm = compose("luffy", knobs={"group_size": 3})
    completions = {"a": held, "b": held}
    samples, drawn = deal(algorithm, ["a", "b"], lambda *_: 0.0, completions=completions)
    assert drawn == [(["a", "b"], 3, {})]
    for group in (0, 1):
        rows = [sample for sample in samples if sample.group == group]
        assert [sample.columns["shown"] for sample in rows] == [0.0, 0.0, 0.0, 1.0]
        assert [sample.reward for sample in rows] == [0.0, 0.0, 0.0, 1.0]
        assert rows[-1].completion_ids == [7, 8]


def test_of_the_rows_completion_unlikely_tokens_teach_most(paper_batch, loss_and_gradient):
    _, batch = paper_batch(shown=torch.ones(4), rewards=torch.tensor([1.0, 0, 1, 0]))
    likely = torch.where(batch.mask, torch.tensor([-0.01, -2.3, -0.01, -2.3, -0.01]), 0).double()
    algorithm = compose("luffy")
    _, gradient = loss_and_gradient(algorithm, likely, algorithm.prepare(batch))
    good = -gradient[0, :4]
    assert (good > 0).all()
    assert good[1] > 2 * good[0]


def test_needs_rows_that_hold_a_completion_and_no_reference():
    algorithm = compose("luffy")
    assert algorithm.inputs.wanted == {"completion"}
    assert algorithm.requires == {"old_logprobs"}
    with pytest.raises(AnypoError, match="shape_gamma"):
        compose("luffy", knobs={"shape_gamma": 0})
