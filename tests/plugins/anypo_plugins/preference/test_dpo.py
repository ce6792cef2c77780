import math
from statistics import fmean

import pytest
import torch

from anypo import AnypoError, Prompt, collate, compose
from anypo.hooks.batch import Completion

PAIRWISE = ("dpo", "cdpo", "robust_dpo", "ipo", "orpo", "reward_model", "online_dpo")


def drift(row):
    return sum(row.new) - sum(row.ref)


def by_hand(pairs):
    margins = [drift(chosen) - drift(rejected) for chosen, rejected in pairs]
    return fmean(math.log(1 + math.exp(-0.3 * h)) for h in margins)


def by_hand_of_means(pairs):
    margins = [drift(w) / len(w.new) - drift(z) / len(z.new) for w, z in pairs]
    return fmean(math.log(1 + math.exp(-0.3 * h)) for h in margins)


def by_hand_with_sft(pairs):
    tokens = [logprob for chosen, _ in pairs for logprob in chosen.new]
    return by_hand(pairs) - 0.7 * fmean(tokens)


@pytest.mark.parametrize(
    ("name", "knobs"),
    [
        ("dpo.loss", {}),
        ("dpo.loss_length_norm", {"logps": "mean"}),
        ("dpo.plus_sft", {"sft_coef": 1.0}),
    ],
)
def test_reproduces_the_golden_numbers(reproduces_pairs, name, knobs):
    reproduces_pairs(compose("dpo", knobs=knobs), name)


def test_the_implicit_rewards_are_the_golden_ones(golden, golden_pairs, pair_order, precision):
    dtype, tolerance = precision
    expected = golden("dpo.loss")["expected"]
    logprobs, batch = golden_pairs(dtype)
    algorithm = compose("dpo")
    prepared = algorithm.prepare(batch)
    for pair in range(3):
        rows = torch.tensor([pair_order.index(pair), pair_order.index(pair + 3)])
        metrics = algorithm.loss(logprobs[rows], prepared.rows(rows)).metrics
        means = {name: float(total / count) for name, (total, count) in metrics.items()}
        near = {"rel": tolerance, "abs": tolerance}
        assert means["rewards/chosen"] == pytest.approx(expected["reward_chosen"][pair], **near)
        assert means["rewards/rejected"] == pytest.approx(expected["reward_rejected"][pair], **near)
        assert means["rewards/margins"] == pytest.approx(0.1 * expected["margin"][pair], **near)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("knobs", "formula"),
    [
        ({}, by_hand),
        ({"logps": "mean"}, by_hand_of_means),
        ({"sft_coef": 0.7}, by_hand_with_sft),
    ],
    ids=["sum", "mean", "sft"],
)
def test_agrees_with_the_equation_worked_by_hand(
    random_pairs, agrees_pair_by_pair, seed, knobs, formula
):
    agrees_pair_by_pair(compose("dpo", knobs={"beta": 0.3, **knobs}), formula, *random_pairs(seed))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("chosen", "rejected", "loss", "slope"),
    [(-400.0, 400.0, 800.0, -1.0), (400.0, -400.0, 0.0, 0.0)],
    ids=["wrong", "right"],
)
def test_log_ratios_of_hundreds_of_nats_saturate(
    one_pair, loss_and_gradient, dtype, chosen, rejected, loss, slope
):
    logprobs, batch = one_pair(chosen, rejected, dtype)
    algorithm = compose("dpo", knobs={"beta": 1.0})
    actual, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert actual.total.item() == pytest.approx(loss)
    assert gradient.flatten().tolist() == [slope, -slope]


def test_identical_completions_teach_nothing(one_pair, loss_and_gradient):
    logprobs, batch = one_pair(-1.3, -1.3)
    algorithm = compose("dpo")
    loss, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    assert loss.total.item() == pytest.approx(math.log(2))
    assert gradient.flatten().tolist() == pytest.approx([-0.05, 0.05])
    assert gradient.sum() == 0


def test_a_pair_counts_the_same_however_long_it_is(random_pairs):
    _, batch = random_pairs()
    rows = compose("dpo").prepare(batch).weights["policy"].sum(-1)
    assert rows.tolist() == pytest.approx([1 / len(batch)] * len(batch))


def test_a_pair_with_an_empty_completion_counts_like_any_other(random_pairs):
    logprobs, batch = random_pairs()
    rows = torch.tensor([0, 2, 3, 5])
    batch = batch.rows(rows)
    mask = batch.mask.clone()
    mask[1] = False  # the rejected completion of the first pair
    algorithm = compose("dpo", knobs={"beta": 0.3})
    loss = algorithm.loss(logprobs[rows], algorithm.prepare(batch.replace(mask=mask))).total
    drifts = ((logprobs[rows] - batch.ref_logprobs) * mask).sum(-1).tolist()
    margins = [drifts[0], drifts[3] - drifts[2]]
    expected = fmean(math.log(1 + math.exp(-0.3 * h)) for h in margins)
    assert loss.item() == pytest.approx(expected)


def test_sft_touches_the_chosen_rows_only(random_pairs, loss_and_gradient):
    logprobs, batch = random_pairs()
    with_sft, without = (compose("dpo", knobs={"sft_coef": c}) for c in (0.9, 0.0))
    one, other = (
        loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))[1]
        for algorithm in (with_sft, without)
    )
    chosen = batch.mask & (batch["preference"] == 1).unsqueeze(-1)
    expected = torch.where(chosen, -0.9 / chosen.sum(), 0.0).double()
    torch.testing.assert_close(one - other, expected)


@pytest.mark.parametrize("name", PAIRWISE)
def test_metrics_compare_the_rewards_of_pairs(random_pairs, name):
    logprobs, batch = random_pairs(seed=2)
    logprobs = logprobs * batch.mask
    algorithm = compose(name)
    prepared = algorithm.prepare(batch)
    metrics = algorithm.loss(logprobs, prepared).metrics
    scale = 1.0 if name == "reward_model" else 0.1
    rewards = (scale * algorithm.log_ratio(logprobs, prepared)).flatten().tolist()
    chosen, rejected = {}, {}
    for row, group in enumerate(batch.group.tolist()):
        (chosen if batch["preference"][row] > 0 else rejected)[group] = rewards[row]
    margins = [chosen[pair] - rejected[pair] for pair in chosen]
    expected = {
        "rewards/chosen": fmean(chosen.values()),
        "rewards/rejected": fmean(rejected.values()),
        "rewards/margins": fmean(margins),
        "rewards/accuracies": fmean(h > 0 for h in margins),
    }
    means = {key: float(metrics[key][0] / metrics[key][1]) for key in expected}
    assert means == pytest.approx(expected)
    assert int(metrics["rewards/chosen"][1]) == int(metrics["rewards/rejected"][1]) == len(chosen)
    assert 0 < means["rewards/accuracies"] < 1  # or neither sign would have been seen


def test_a_pair_that_is_not_told_apart_is_half_right(random_pairs):
    logprobs, batch = random_pairs(scale=0.0)  # the policy is its own reference
    algorithm = compose("dpo")
    total, count = algorithm.loss(logprobs, algorithm.prepare(batch)).metrics["rewards/accuracies"]
    assert float(total / count) == 0.5


def test_metrics_of_micro_batches_add_up(random_pairs):
    logprobs, batch = random_pairs()
    algorithm = compose("dpo")
    prepared = algorithm.prepare(batch)
    whole = algorithm.loss(logprobs, prepared).metrics
    halves = [batch.group < 5, batch.group >= 5]
    parts = [algorithm.loss(logprobs[h], prepared.rows(h.nonzero()[:, 0])).metrics for h in halves]
    for name, (total, count) in whole.items():
        assert sum(part[name][0] for part in parts).item() == pytest.approx(total.item())
        assert sum(part[name][1] for part in parts) == count


@pytest.mark.parametrize("name", ["dpo", "cdpo", "robust_dpo", "ipo", "orpo", "reward_model"])
def test_every_row_of_a_data_set_gives_a_pair(name):
    prompts = [
        Prompt(
            [1, 2 + i],
            "",
            completions={
                "chosen": Completion([5, 6 + i], mask=[False, True]),
                "rejected": Completion([7, 8, 9], truncated=True),
            },
        )
        for i in range(2)
    ]
    algorithm = compose(name)
    samples = algorithm.rollout(prompts, None, None, {})
    assert [sample.group for sample in samples] == [0, 0, 1, 1]
    assert [sample.prompt_ids for sample in samples] == [[1, 2], [1, 2], [1, 3], [1, 3]]
    assert [s.completion_ids for s in samples] == [[5, 6], [7, 8, 9], [5, 7], [7, 8, 9]]
    assert [sample.truncated for sample in samples] == [False, True] * 2
    assert all(sample.reward is None for sample in samples)
    batch = collate(samples)
    assert batch["preference"].tolist() == [1, -1, 1, -1]
    assert batch.mask.tolist() == [[False, True, False], [True, True, True]] * 2
    assert algorithm.inputs.completions == {"chosen", "rejected"}
    assert algorithm.inputs.columns == set()
    assert not algorithm.inputs.sampler
    assert not algorithm.inputs.scorer


@pytest.mark.parametrize("name", PAIRWISE)
def test_pairs_share_a_micro_batch(name):
    assert compose(name).couples_groups


def test_needs_a_reference_and_nothing_before_the_loss():
    assert compose("dpo").requires == {"reference"}
    assert compose("dpo").prepare_requires == set()


@pytest.mark.parametrize(
    ("stack", "why"),
    [
        (("dpo", "kto"), "holds no 'preference'"),
        (("kto", "dpo"), "would replace 'kto'"),
        (("dpo", "sft"), "holds no 'preference'"),
        (("sft", "dpo"), "would replace 'sft'"),
        (("dpo", "grpo"), "holds no 'preference'"),
        (("gspo", "dpo"), "would replace 'grpo'"),
        (("cdpo", "ipo"), "'cdpo' has no effect"),
        (("orpo", "dpo"), "already in the stack"),
        (("dpo", "tis"), "holds no 'sampler_logprobs'"),
        (("dpo", "dual_clip"), "ratio is one per sequence"),
    ],
    ids=lambda x: "+".join(x) if isinstance(x, tuple) else "",
)
def test_stacks_without_sense_are_refused_in_one_line(stack, why):
    with pytest.raises(AnypoError, match=why) as refusal:
        compose(*stack)
    assert "\n" not in str(refusal.value)


def test_a_link_that_another_one_replaces_is_refused():
    with pytest.raises(AnypoError, match="'cdpo' has no effect"):
        compose("cdpo", "reward_model")


@pytest.mark.parametrize("name", ["dpo", "cdpo", "robust_dpo", "ipo", "orpo", "kto", "online_dpo"])
def test_beta_is_positive(name):
    with pytest.raises(AnypoError, match="greater than 0"):
        compose(name, knobs={"beta": 0.0})
