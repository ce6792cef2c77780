import math
from dataclasses import replace
from statistics import fmean

import pytest
import torch

from anypo import AnypoError, Batch, Prompt, collate, compose
from anypo.hooks.batch import Completion

CASES = {
    "kto.loss": {},
    "kto.loss_clamped_z0": {},
    "kto.loss_weighted": {"desirable_weight": 1.33},
}
LABELS = (0, 1, -1, 0, 1, 1, 0, 1, 0)
LENGTHS = (3, 5, 2, 1, 4, 0, 6, 1, 2)  # a good completion is empty


def one_token_batch(labels, old, ref=None, dtype=torch.float64):
    """One row of one token per label; the log-prob of the token is that of the completion."""
    old = torch.tensor(old, dtype=dtype).unsqueeze(-1)
    ref = torch.zeros_like(old) if ref is None else torch.tensor(ref, dtype=dtype).unsqueeze(-1)
    return Batch(
        mask=torch.ones_like(old).bool(),
        group=torch.arange(len(labels)),
        label=torch.tensor(labels, dtype=torch.float32),
        old_logprobs=old,
        ref_logprobs=ref,
    )


def random_batch(seed, shift):
    """Labelled and mismatched rows in any order; old log-ratios are about `shift` per token."""
    random = torch.Generator().manual_seed(seed)

    def drawn():
        return 2 * torch.rand(len(LABELS), 6, generator=random, dtype=torch.float64) - 1

    mask = torch.arange(6) < torch.tensor(LENGTHS).unsqueeze(-1)
    mask[0, 0] = mask[6, 2] = False
    ref = drawn() - 2
    old = ref + shift + 0.5 * drawn()
    batch = Batch(
        mask=mask,
        group=torch.arange(len(LABELS)),
        label=torch.tensor(LABELS).float(),
        old_logprobs=old,
        ref_logprobs=ref,
    )
    return old + 0.5 * drawn(), batch


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def by_hand(rows, new, sg):
    mismatched = [r for r in rows if r.label == 0]
    z0 = max(0.0, fmean(sum(r.old[t] - r.ref[t] for t in r.tokens) for r in mismatched))
    losses = []
    for row in rows:
        reward = sum(new[row.index][t] - row.ref[t] for t in row.tokens)
        if row.tokens and row.label > 0:
            losses.append(1.2 * (1 - sigmoid(0.3 * (reward - z0))))
        elif row.tokens and row.label < 0:
            losses.append(0.7 * (1 - sigmoid(0.3 * (z0 - reward))))
    return fmean(losses)


@pytest.mark.parametrize("name", CASES)
def test_reproduces_the_golden_numbers(golden, fixtures, loss_and_gradient, precision, name):
    dtype, tolerance = precision
    near = {"rel": tolerance, "abs": tolerance}
    case, k1 = golden(name), fixtures["K1"]
    expected, inputs = case["expected"], case["inputs"]
    labels = [1 if label else -1 for label in k1["label"]] + [0] * 4
    policy, reference = k1["pol"] + inputs["kl_pol"], k1["ref"] + inputs["kl_ref"]
    batch = one_token_batch(labels, policy, reference, dtype)
    algorithm = compose("kto", knobs=CASES[name])
    prepared = algorithm.prepare(batch)
    loss, gradient = loss_and_gradient(algorithm, batch.old_logprobs, prepared)
    assert loss.total.item() == pytest.approx(expected["loss"], **near)
    total, count = loss.metrics["kl/z0"]
    assert float(total / count) == pytest.approx(expected["z0"], **near)
    wanted = torch.tensor([*expected["grad_logp"], 0, 0, 0, 0], dtype=dtype).unsqueeze(-1)
    torch.testing.assert_close(gradient, wanted, rtol=tolerance, atol=tolerance)
    for i, example in enumerate(expected["per_example"]):
        part = algorithm.loss(batch.old_logprobs[[i]], prepared.rows(torch.tensor([i])))
        assert 4 * part.total.item() == pytest.approx(example, **near)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("shift", [0.4, -0.4], ids=["drifted", "clamped"])
def test_agrees_with_the_equation_worked_by_hand(agrees_by_hand, seed, shift):
    logprobs, batch = random_batch(seed, shift)
    knobs = {"beta": 0.3, "desirable_weight": 1.2, "undesirable_weight": 0.7}
    algorithm = compose("kto", knobs=knobs)
    assert (algorithm.prepare(batch)["z0"] > 0).all() == (shift > 0)
    agrees_by_hand(algorithm, by_hand, logprobs, batch)


@pytest.mark.parametrize(
    ("mismatched", "z0"), [([-3.0, 1.0], 0.0), ([-1.0, 3.0], 1.0), ([2.0, 5.0], 3.5)]
)
def test_the_drift_is_clamped_after_the_mean(mismatched, z0):
    batch = one_token_batch([1, 0, -1, 0], [9.0, mismatched[0], -9.0, mismatched[1]])
    assert compose("kto").prepare(batch)["z0"].tolist() == [z0] * 4


def test_the_drift_is_that_before_the_update(loss_and_gradient):
    algorithm = compose("kto")
    batch = one_token_batch([1, 0], [0.0, 2.0])
    logprobs = torch.tensor([[2.0], [50.0]], dtype=torch.float64)
    loss, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert loss.total.item() == pytest.approx(0.5)  # the good row has drifted as far as z0
    assert gradient.flatten().tolist() == pytest.approx([-0.1 / 4, 0.0])


def test_mismatched_rows_are_not_learnt_from(loss_and_gradient):
    logprobs, batch = random_batch(0, 0.4)
    algorithm = compose("kto")
    prepared = algorithm.prepare(batch)
    loss, gradient = loss_and_gradient(algorithm, logprobs, prepared)
    mismatched = torch.tensor(LABELS) == 0
    assert (gradient[mismatched] == 0).all()
    moved = torch.where(mismatched.unsqueeze(-1), logprobs - 30, logprobs)
    assert algorithm.loss(moved, prepared).total == loss.total


def test_with_unequal_labels_every_example_counts_the_same(loss_and_gradient):
    batch = one_token_batch([1, 1, 1, -1, 0, 0, 0, 0], [0.0] * 8)
    algorithm = compose("kto", knobs={"beta": 1.0})
    _, gradient = loss_and_gradient(algorithm, batch.old_logprobs, algorithm.prepare(batch))
    assert gradient.flatten().tolist() == pytest.approx([-1 / 16] * 3 + [1 / 16] + [0] * 4)


@pytest.mark.parametrize(
    ("knob", "label"), [("desirable_weight", 1), ("undesirable_weight", -1)], ids=["good", "bad"]
)
def test_a_weight_scales_the_rows_of_its_label(loss_and_gradient, knob, label):
    logprobs, batch = random_batch(1, 0.4)
    plain, heavy = (
        loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))[1]
        for algorithm in (compose("kto"), compose("kto", knobs={knob: 3.0}))
    )
    scale = torch.where(batch["label"] == label, 3.0, 1.0).unsqueeze(-1)
    torch.testing.assert_close(heavy, plain * scale)
    assert not torch.equal(heavy, plain)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_log_ratios_of_hundreds_of_nats_saturate(loss_and_gradient, dtype):
    batch = one_token_batch([1, 1, -1, -1, 0], [800.0, -800.0, 800.0, -800.0, 0.0], dtype=dtype)
    algorithm = compose("kto", knobs={"beta": 1.0})
    loss, gradient = loss_and_gradient(algorithm, batch.old_logprobs, algorithm.prepare(batch))
    assert loss.total.item() == pytest.approx(2 / 4)
    assert gradient.abs().max() == 0


def prompts():
    return [
        Prompt(
            [1, i],
            "",
            {"label": i != 1},
            {"completion": Completion([10 + i], [i != 2], truncated=i == 2)},
        )
        for i in range(3)
    ]


def test_every_prompt_comes_with_its_own_completion_and_with_the_next_ones():
    algorithm = compose("kto")
    samples = algorithm.rollout(prompts(), None, None, {})
    rows = [(s.prompt_ids[1], s.completion_ids[0] - 10, s.columns["label"]) for s in samples]
    assert rows == [(0, 0, 1), (0, 1, 0), (1, 1, -1), (1, 2, 0), (2, 2, 1), (2, 0, 0)]
    assert [sample.group for sample in samples] == [0, 0, 1, 1, 2, 2]
    assert [sample.truncated for sample in samples] == [s.completion_ids == [12] for s in samples]
    assert collate(samples).mask.squeeze(-1).tolist() == [True, True, True, False, False, True]
    assert algorithm.inputs.completions == {"completion"}
    assert algorithm.inputs.columns == {"label"}


def test_one_prompt_has_no_other_to_be_compared_with():
    with pytest.raises(AnypoError, match="at least 2") as refusal:
        compose("kto").rollout(prompts()[:1], None, None, {})
    assert "\n" not in str(refusal.value)


def test_rows_of_the_same_prompt_are_not_mismatched_with_each_other():
    first, second, _ = prompts()
    twin = replace(first, completions={"completion": Completion([77])})
    samples = compose("kto").rollout([first, twin, second], None, None, {})
    mismatched = [sample for sample in samples if sample.columns["label"] == 0]
    assert [sample.completion_ids for sample in mismatched] == [[11], [11], [10]]
    with pytest.raises(AnypoError, match="at least 2 different prompts"):
        compose("kto").rollout([first, twin], None, None, {})


def test_another_prompt_is_found_in_the_data_whatever_a_step_draws():
    first, second, third = prompts()
    twin = replace(first, completions={"completion": Completion([77])})
    for drawn in ([first], [first, twin]):
        samples = compose("kto").rollout(drawn, None, None, {}, [twin, first, third, second])
        mismatched = [sample for sample in samples if sample.columns["label"] == 0]
        assert [sample.completion_ids for sample in mismatched] == [[12]] * len(drawn)
        assert [sample.prompt_ids for sample in mismatched] == [[1, 0]] * len(drawn)


def test_metrics_are_the_implicit_rewards_of_good_and_bad_rows():
    batch = one_token_batch([1, -1, 1, 0], [1.0, 7.0, 4.0, 2.0])
    algorithm = compose("kto", knobs={"beta": 0.5})
    metrics = algorithm.loss(batch.old_logprobs, algorithm.prepare(batch)).metrics
    pairs = {name: (float(total), int(count)) for name, (total, count) in metrics.items()}
    assert pairs["rewards/chosen"] == (2.5, 2)
    assert pairs["rewards/rejected"] == (3.5, 1)
    assert pairs["kl/z0"] == (8.0, 4)


def test_needs_both_models_before_the_loss_and_any_rows_may_share_a_micro_batch():
    algorithm = compose("kto")
    assert algorithm.prepare_requires == {"old_logprobs", "reference"}
    assert not algorithm.couples_groups
