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


def test_the_slope_is_how_far_the_score_is_from_the_label(paper_batch, loss_and_gradient):
    _, batch = paper_batch()
    algorithm, scores = compose("prm"), batch["text_scores"]
    prepared = algorithm.prepare(batch)
    _, gradient = loss_and_gradient(algorithm, at_the_end(scores, batch.mask), prepared)
    right = [(1 + label) / 2 for label in batch["label"].tolist()]
    for i, score in enumerate(scores.tolist()):
        slope = (1 / (1 + math.exp(-score)) - right[i]) / len(right)
        assert gradient[i, batch.lengths[i] - 1].item() == pytest.approx(slope)


def test_every_step_counts_the_same_and_is_judged_rightly_or_not(paper_batch):
    _, batch = paper_batch()
    algorithm, scores = compose("prm"), torch.tensor([2.0, 1.0, -3.0, 0.0]).double()
    loss = algorithm.loss(at_the_end(scores, batch.mask), algorithm.prepare(batch))
    pairs = zip(scores.tolist(), batch["label"].tolist(), strict=True)
    assert loss.total.item() == pytest.approx(fmean(math.log1p(math.exp(-a * s)) for s, a in pairs))
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
