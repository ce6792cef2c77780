import math
from statistics import fmean

import pytest
import torch

from anypo import Prompt, compose
from anypo.hooks.batch import Completion


def at_the_end(scores, mask):
    """A score per row, at its last token."""
    ends = mask.sum(-1, keepdim=True) - 1
    return torch.zeros(mask.shape, dtype=scores.dtype).scatter(1, ends, scores.unsqueeze(-1))


def test_reproduces_the_golden_loss(papers, paper_batch, precision):
    dtype, tolerance = precision
    _, batch = paper_batch(dtype)
    algorithm = compose("prm")
    scores = at_the_end(batch["text_scores"], batch.mask)
    loss = algorithm.loss(scores, algorithm.prepare(batch)).total.item()
    assert loss == pytest.approx(papers["cases"]["prm"]["loss"], rel=tolerance)


def by_hand(rows, new, sg):
    steps = [row for row in rows if row.tokens]
    scores = (row.label * sum(new[row.index][t] for t in row.tokens) for row in steps)
    return fmean(math.log1p(math.exp(-score)) for score in scores)


@pytest.mark.parametrize("seed", range(2))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    logprobs, batch = random_batch(seed)
    label = torch.tensor([1.0, -1, -1, 1, 1, -1, 1, -1, -1, 1])
    agrees_by_hand(compose("prm"), by_hand, logprobs / 4, batch.replace(label=label))


def test_steps_are_judged_rightly_or_not(paper_batch):
    _, batch = paper_batch()
    algorithm, scores = compose("prm"), torch.tensor([2.0, 1.0, -3.0, 0.0]).double()
    loss = algorithm.loss(at_the_end(scores, batch.mask), algorithm.prepare(batch))
    total, count = loss.metrics["rewards/accuracies"]
    assert float(total / count) == (1 + 0 + 0 + 0.5) / 4


def test_every_row_of_a_data_set_is_a_beginning_that_ends_with_a_step():
    held = {"completion": Completion([5, 6])}
    prompts = [Prompt([1], "", {"label": right}, held) for right in (True, False)]
    samples = compose("prm").rollout(prompts, None, None, {})
    assert [sample.columns["label"] for sample in samples] == [1.0, -1.0]
    assert [sample.group for sample in samples] == [0, 1]
    assert compose("prm").requires == {"scalar_head"}
    assert compose("prm").inputs.columns == {"label"}
