import math
from statistics import fmean

import pytest
import torch

from anypo import Batch, Prompt, compose
from anypo.hooks.batch import Completion

LAST = (2, 0, 1, 1, 3, 0)  # the last token of each row, where its score stands


def rm_batch(rm, dtype):
    """Fixture RM, chosen rows first, every score at the last token of its row."""
    ends = torch.tensor(LAST).unsqueeze(-1)
    scores = torch.tensor(rm["chosen"] + rm["rejected"], dtype=dtype).unsqueeze(-1)
    batch = Batch(
        mask=torch.arange(4) <= ends,
        group=torch.tensor([0, 1, 2, 0, 1, 2]),
        preference=torch.tensor([1.0, 1, 1, -1, -1, -1]),
        margin=torch.tensor(rm["margin"] * 2),
    )
    return torch.zeros(6, 4, dtype=dtype).scatter(1, ends, scores), batch


def score(row):
    return sum(row.new)  # all but the last are 0 when a model gives them


def by_hand_with(margin=0.0, center=0.0):
    def by_hand(pairs):
        losses = []
        for chosen, rejected in pairs:
            gap = score(chosen) - score(rejected) - margin * chosen.margin
            total = score(chosen) + score(rejected)
            losses.append(math.log(1 + math.exp(-gap)) + center * total**2)
        return fmean(losses)

    return by_hand


@pytest.mark.parametrize(
    ("name", "knobs"),
    [
        ("reward_model.loss", {}),
        ("reward_model.loss_margin", {"margin": True}),
        ("reward_model.loss_centered", {"center_coef": 0.01}),
    ],
)
def test_reproduces_the_golden_losses(golden, fixtures, precision, name, knobs):
    dtype, tolerance = precision
    logprobs, batch = rm_batch(fixtures["RM"], dtype)
    algorithm = compose("reward_model", knobs=knobs)
    loss = algorithm.loss(logprobs, algorithm.prepare(batch)).total.item()
    assert loss == pytest.approx(golden(name)["expected"]["loss"], rel=tolerance)


def test_reproduces_the_golden_gradient_and_accuracy(
    golden, fixtures, loss_and_gradient, precision
):
    dtype, tolerance = precision
    expected = golden("reward_model.loss")["expected"]
    logprobs, batch = rm_batch(fixtures["RM"], dtype)
    algorithm = compose("reward_model")
    loss, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    slopes = gradient.gather(1, torch.tensor(LAST).unsqueeze(-1)).flatten()
    chosen = torch.tensor(expected["grad_chosen"], dtype=dtype)
    torch.testing.assert_close(slopes, torch.cat([chosen, -chosen]), rtol=tolerance, atol=tolerance)
    total, count = loss.metrics["rewards/accuracies"]
    assert float(total / count) == pytest.approx(expected["accuracy"])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("knobs", "formula"),
    [
        ({}, by_hand_with()),
        ({"margin": True}, by_hand_with(margin=1.0)),
        ({"center_coef": 0.2}, by_hand_with(center=0.2)),
        ({"margin": True, "center_coef": 0.2}, by_hand_with(margin=1.0, center=0.2)),
    ],
    ids=["plain", "margin", "centred", "both"],
)
def test_agrees_with_the_equation_worked_by_hand(
    random_pairs, agrees_pair_by_pair, seed, knobs, formula
):
    logprobs, batch = random_pairs(seed)
    logprobs = 0.2 * logprobs
    batch = batch.replace(margin=0.3 * batch.group.double())
    agrees_pair_by_pair(compose("reward_model", knobs=knobs), formula, logprobs, batch)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("chosen", "rejected", "loss", "slope"),
    [(-400.0, 400.0, 800.0, -1.0), (400.0, -400.0, 0.0, 0.0)],
    ids=["wrong", "right"],
)
def test_scores_far_apart_saturate(
    one_pair, loss_and_gradient, dtype, chosen, rejected, loss, slope
):
    logprobs, batch = one_pair(chosen, rejected, dtype)
    algorithm = compose("reward_model")
    actual, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert actual.total.item() == pytest.approx(loss)
    assert gradient.flatten().tolist() == [slope, -slope]


def test_identical_completions_teach_nothing(one_pair, loss_and_gradient):
    logprobs, batch = one_pair(0.8, 0.8)
    algorithm = compose("reward_model")
    loss, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert loss.total.item() == pytest.approx(math.log(2))
    assert gradient.sum() == 0


def test_a_constant_added_to_all_scores_is_seen_by_the_centring_alone(one_pair):
    plain, centred = (compose("reward_model", knobs={"center_coef": c}) for c in (0.0, 0.01))
    for algorithm, difference in ((plain, 0.0), (centred, 0.01 * (4.5**2 - 0.5**2))):
        low, high = (
            algorithm.loss(logprobs, algorithm.prepare(batch)).total.item()
            for logprobs, batch in (one_pair(1.5, -1.0), one_pair(3.5, 1.0))
        )
        assert high - low == pytest.approx(difference)


def prompts():
    held = {"chosen": Completion([5]), "rejected": Completion([6])}
    return [Prompt([1], "", {"margin": 2 * i}, held) for i in range(2)]


def test_a_margin_goes_with_both_rows_of_its_pair():
    algorithm = compose("reward_model", knobs={"margin": True})
    samples = algorithm.rollout(prompts(), None, None, {})
    assert [sample.columns["margin"] for sample in samples] == [0.0, 0.0, 2.0, 2.0]
    assert [sample.columns["preference"] for sample in samples] == [1.0, -1.0, 1.0, -1.0]
    assert [sample.group for sample in samples] == [0, 0, 1, 1]
    assert algorithm.inputs.columns == {"margin"}


def test_without_margins_that_column_is_not_read():
    samples = compose("reward_model").rollout(prompts(), None, None, {})
    assert all("margin" not in sample.columns for sample in samples)


def test_needs_a_scalar_head_and_no_reference():
    assert compose("reward_model").requires == {"scalar_head"}
