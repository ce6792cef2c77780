from statistics import fmean

import pytest
import torch

from anypo import Batch, Prompt, collate, compose
from anypo.hooks.batch import Completion


def tokens_by_hand(rows, new, sg):
    return -fmean(new[row.index][t] for row in rows for t in row.tokens)


def completions_by_hand(rows, new, sg):
    return -fmean(fmean(new[row.index][t] for t in row.tokens) for row in rows if row.tokens)


def test_reproduces_the_golden_numbers(golden, golden_batch, loss_and_gradient, precision):
    dtype, tolerance = precision
    expected = golden("sft.loss")["expected"]
    logprobs, batch = golden_batch("F1", dtype)
    algorithm = compose("sft")
    loss, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert loss.total.item() == pytest.approx(expected["loss"], rel=tolerance)
    wanted = torch.tensor(expected["grad_logp_new"], dtype=dtype)
    torch.testing.assert_close(gradient, wanted, rtol=tolerance, atol=tolerance)
    by_row = compose("sft", knobs={"average": "completions"})
    actual = by_row.loss(logprobs, by_row.prepare(batch)).total.item()
    assert actual == pytest.approx(expected["loss_seq_mean"], rel=tolerance)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("average", "formula"), [("tokens", tokens_by_hand), ("completions", completions_by_hand)]
)
def test_agrees_with_the_equation_worked_by_hand(
    random_batch, agrees_by_hand, seed, average, formula
):
    algorithm = compose("sft", knobs={"average": average})
    agrees_by_hand(algorithm, formula, *random_batch(seed))


@pytest.mark.parametrize("average", ["tokens", "completions"])
def test_rows_without_a_token_to_learn_divide_nothing_by_zero(loss_and_gradient, average):
    batch = Batch(mask=torch.zeros(2, 3).bool(), group=torch.tensor([0, 1]))
    algorithm = compose("sft", knobs={"average": average})
    logprobs = torch.full((2, 3), -2.0)
    loss, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert loss.total.item() == 0
    assert (gradient == 0).all()


def test_every_row_of_a_data_set_is_a_sample():
    prompts = [
        Prompt([1, 2], "", completions={"completion": Completion([5, 6, 7], [True, False, True])}),
        Prompt([3], "", completions={"completion": Completion([8], truncated=True)}),
    ]
    algorithm = compose("sft")
    samples = algorithm.rollout(prompts, None, None, {})
    assert [sample.prompt_ids for sample in samples] == [[1, 2], [3]]
    assert [sample.completion_ids for sample in samples] == [[5, 6, 7], [8]]
    assert [sample.group for sample in samples] == [0, 1]
    assert [sample.truncated for sample in samples] == [False, True]
    assert collate(samples).mask.tolist() == [[True, False, True], [True, False, False]]
    assert algorithm.inputs.completions == {"completion"}
    assert not algorithm.inputs.columns
    assert algorithm.inputs.fixed


def test_needs_the_policy_alone():
    algorithm = compose("sft")
    assert algorithm.requires == set()
    assert not algorithm.couples_groups
