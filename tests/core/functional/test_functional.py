import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anypo import functional as F
from anypo.functional.groups import rows_by_group

PRECISIONS = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=["f64", "f32"]
)


@pytest.fixture
def f1(fixtures):
    return fixtures["F1"]


def close(actual, expected, tolerance):
    expected = torch.as_tensor(expected, dtype=actual.dtype)
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def grad_of(loss, x):
    return torch.autograd.grad(loss, x)[0]


# -- groups --------------------------------------------------------------------------------------


def test_rows_are_found_by_group_in_the_order_in_which_groups_begin():
    assert rows_by_group(torch.tensor([7, 2, 7, 5, 2])) == [[0, 2], [1, 4], [3]]


UNEQUAL = {
    "advantages": {},
    "advantages_singleton_raw": {"singleton": "raw"},
    "advantages_mean_only": {"scale": "none"},
    "advantages_batch_std": {"scale": "batch"},
    "advantages_rloo": {"scale": "none", "center": "leave_one_out"},
}


@PRECISIONS
@pytest.mark.parametrize("variant", UNEQUAL)
def test_unequal_groups(golden, variant, dtype, tolerance):
    case = golden("grpo.adv_unequal_groups")
    rewards = torch.tensor(case["inputs"]["rewards"], dtype=dtype)
    group = torch.tensor(case["inputs"]["group"])
    actual = F.group_standardize(rewards, group, **UNEQUAL[variant])
    close(actual, case["expected"][variant], tolerance)


@PRECISIONS
@pytest.mark.parametrize(
    ("case", "options"),
    [
        ("grpo.adv", {}),
        ("grpo.adv_trl_eps", {"eps": 1e-4}),
        ("grpo.adv_population_std", {"correction": 0}),
    ],
)
def test_group_standardize(golden, f1, case, options, dtype, tolerance):
    rewards = torch.tensor(f1["rewards"], dtype=dtype)
    actual = F.group_standardize(rewards, torch.tensor(f1["group"]), **options)
    close(actual, golden(case)["expected"]["advantages"], tolerance)


@given(st.floats(-1e3, 1e3, width=32), st.integers(1, 16))
def test_equal_rewards_give_exactly_zero(reward, size):
    rewards = torch.full((size,), reward, dtype=torch.float32)
    assert (F.group_standardize(rewards, torch.zeros(size, dtype=torch.long)) == 0).all()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-9, 9)), min_size=1, max_size=20))
def test_group_statistics_ignore_order_and_numbering(rows):
    group = torch.tensor([g for g, _ in rows])
    rewards = torch.tensor([float(r) for _, r in rows])
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    plain = F.group_standardize(rewards, group)
    shuffled = F.group_standardize(rewards[order], group[order] * -7 + 100)
    torch.testing.assert_close(shuffled, plain[order])


# -- masked statistics ---------------------------------------------------------------------------


@PRECISIONS
def test_whiten(golden, dtype, tolerance):
    case = golden("whiten.two_ranks")
    parts = [case["inputs"]["rank0"], case["inputs"]["rank1"] + [torch.nan, torch.inf]]
    x = torch.tensor(parts, dtype=dtype)
    mask = torch.tensor([[True, True, True], [True, False, False]])
    expected = [case["expected"]["rank0"], [*case["expected"]["rank1"], 0, 0]]
    close(F.whiten(x, mask), expected, tolerance)


def test_whiten_leaves_a_single_value_alone():
    x, mask = torch.tensor([[3.0, 9.0]]), torch.tensor([[True, False]])
    assert F.whiten(x, mask).tolist() == [[3.0, 0.0]]


def test_the_first_token_is_the_first_unmasked_one():
    x = torch.arange(12.0).view(4, 3)
    mask = torch.tensor([[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]]).bool()
    assert F.first_token(x, mask).tolist() == [[0], [4], [8], [9]]


def test_masked_mean_of_nothing_is_zero():
    nothing = torch.zeros(2, 3, dtype=torch.bool)
    assert F.masked_mean(torch.full((2, 3), torch.nan), nothing) == 0


@pytest.mark.parametrize(
    ("count", "first", "second"),
    [
        (1, [1, 0, 0, 0], [0, 1, 1, 0]),
        (2, [1, 0, 1, 0], [0, 1, 1, 0]),
        (9, [1, 1, 1, 0], [0, 1, 1, 0]),
        (0, [1, 0, 0, 0], [0, 1, 1, 0]),
        (torch.tensor([[2], [1], [1]]), [1, 0, 1, 0], [0, 1, 1, 0]),
    ],
)
def test_the_largest_of_a_row_are_unmasked_and_of_equals_all(count, first, second):
    equal = 1.0 + 1e-6
    x = torch.tensor([[3.0, 1, 2, 9], [torch.nan, 1, equal, torch.inf], [1, 2, 3, 4]])
    mask = torch.tensor([[1, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]).bool()
    assert F.largest(x, mask, count).int().tolist() == [first, second, [0, 0, 0, 0]]


# -- ratio and clip ------------------------------------------------------------------------------


def test_log_ratio_is_clamped(golden):
    case = golden("edge.log_ratio_clamp")
    actual = F.exp_ratio(torch.tensor(case["inputs"]["log_ratio"], dtype=torch.float64))
    close(actual, case["expected"]["ratio"], 1e-9)


@pytest.mark.parametrize("reduce", ["mean", "sum"])
def test_sequence_log_ratio_reads_unmasked_tokens_only(reduce):
    new = torch.tensor([[-1.0, -2.0, 50.0], [9.0, 9.0, 9.0]])
    old = torch.tensor([[-1.5, -2.5, -torch.inf], [0.0, 0.0, 0.0]])
    mask = torch.tensor([[True, True, False], [False, False, False]])
    expected = {"mean": [[0.5], [0.0]], "sum": [[1.0], [0.0]]}[reduce]
    assert F.sequence_log_ratio(new, old, mask, reduce=reduce).tolist() == expected


@given(st.floats(-3, 3), st.floats(-3, 3))
def test_clipped_surrogate_is_the_pessimistic_bound(log_ratio, advantage):
    ratio, bounded = torch.tensor(log_ratio).exp(), torch.tensor(log_ratio).exp().clamp(0.8, 1.28)
    gain = F.clipped_surrogate(torch.tensor([[log_ratio]]), torch.tensor([[advantage]]), 0.2, 0.28)
    torch.testing.assert_close(gain.item(), min(ratio * advantage, bounded * advantage).item())


# -- KL ------------------------------------------------------------------------------------------


@PRECISIONS
@pytest.mark.parametrize("estimator", ["k1", "k2", "k3"])
def test_kl_estimators(golden, f1, estimator, dtype, tolerance):
    case = golden(f"kl.{estimator}")
    new = torch.tensor(f1["logp_new"], dtype=dtype, requires_grad=True)
    ref = torch.tensor(f1["logp_ref"], dtype=dtype)
    mask = torch.tensor(f1["mask"]).bool()
    kl = F.masked(F.kl_penalty(new, ref, new.detach(), estimator=estimator), mask)
    mean = F.masked_mean(kl, mask)
    close(kl.detach(), case["expected"]["per_token"], tolerance)
    close(mean.detach(), case["expected"]["mean"], tolerance)
    close(grad_of(mean, new), case["expected"]["grad_logp_new"], tolerance)


@pytest.mark.parametrize(
    ("estimator", "gradient", "expected"),
    [
        ("k1", "naive", "E_grad_k1"),
        ("k2", "naive", "E_grad_k2"),
        ("k3", "naive", "E_grad_k3"),
        ("k3", "ratio", "E_grad_k3_is"),
        ("k3", "score", "E_grad_k3_is"),
        ("k1", "score", "E_grad_k1_is"),
        ("k3", "k2", "E_grad_k2"),
    ],
)
def test_expected_kl_gradients_on_policy(golden, estimator, gradient, expected):
    case = golden("kl.expected_gradients")
    logits = torch.tensor(case["inputs"]["logits"], dtype=torch.float64, requires_grad=True)
    ref = torch.tensor(case["inputs"]["ref_probs"], dtype=torch.float64).log()
    new = logits.log_softmax(-1)
    kl = F.kl_penalty(new, ref, new.detach(), estimator=estimator, gradient=gradient)
    mean = (new.detach().exp() * kl).sum()
    close(grad_of(mean, logits), case["expected"][expected], 1e-9)


@pytest.mark.parametrize("estimator", ["k1", "k3"])
def test_kl_estimators_are_unbiased(golden, estimator):
    case = golden("kl.expected_gradients")
    new = torch.tensor(case["inputs"]["logits"], dtype=torch.float64).log_softmax(-1)
    ref = torch.tensor(case["inputs"]["ref_probs"], dtype=torch.float64).log()
    mean = (new.exp() * F.ESTIMATORS[estimator](new, ref)).sum()
    close(mean, case["expected"]["reverse_kl"], 1e-9)


# -- weightings ----------------------------------------------------------------------------------

WEIGHTINGS = {
    "token-mean": F.token_mean,
    "seq-mean-token-mean": F.per_completion_mean,
    "seq-mean-token-sum": F.per_completion_sum,
    "seq-sum-const": lambda mask, **kw: F.constant_length_mean(mask, 8, **kw),
}


def objective(weights, per_token):
    return F.masked(weights * per_token, weights > 0).sum()


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_weightings(golden, f1, name):
    case = golden("agg.modes")
    per_token = torch.tensor(case["inputs"]["per_token"], dtype=torch.float64)
    weights = WEIGHTINGS[name](torch.tensor(f1["mask"]).bool())
    close(objective(weights, per_token), case["expected"][name], 1e-9)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_empty_rows_count_only_on_demand(golden, f1, name):
    per_token = golden("agg.modes")["inputs"]["per_token"] + [[torch.nan] * 4]
    per_token = torch.tensor(per_token, dtype=torch.float64)
    mask = torch.tensor(f1["mask"] + [[0] * 4]).bool()
    expected = golden("edge.empty_row")["expected"]
    close(objective(WEIGHTINGS[name](mask), per_token), expected[name], 1e-9)
    if name != "token-mean":
        weights = WEIGHTINGS[name](mask, count_empty=True)
        close(objective(weights, per_token), expected[f"{name}_count_empty"], 1e-9)


@pytest.mark.parametrize(
    ("name", "weighting"),
    [("group-token-mean", F.group_token_mean), ("group-seq-mean", F.group_completion_mean)],
)
def test_group_weightings(golden, f1, name, weighting):
    case = golden("agg.group_modes")
    per_token = torch.tensor(case["inputs"]["per_token"], dtype=torch.float64)
    weights = weighting(torch.tensor(f1["mask"]).bool(), torch.tensor(case["inputs"]["group"]))
    close(objective(weights, per_token), case["expected"][name], 1e-9)


@pytest.mark.parametrize(
    ("name", "key"), [("token-mean", "token_mean"), ("seq-mean-token-mean", "seq_mean")]
)
def test_weights_of_the_whole_batch_add_up_over_micro_batches(golden, f1, name, key):
    case = golden("agg.grad_accumulation")
    per_token = torch.tensor(case["inputs"]["per_token"], dtype=torch.float64)
    weights = WEIGHTINGS[name](torch.tensor(f1["mask"]).bool())
    parts = [objective(weights[rows], per_token[rows]) for rows in case["config"]["micro_batches"]]
    close(torch.stack(parts), case["expected"][f"{key}_parts"], 1e-9)
    close(sum(parts), case["expected"][f"{key}_sum"], 1e-9)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=8))
def test_means_have_weights_that_sum_to_one(lengths):
    mask = torch.arange(6) < torch.tensor(lengths).unsqueeze(-1)
    group = torch.arange(len(lengths)) // 2
    for weights in (
        F.token_mean(mask),
        F.per_completion_mean(mask),
        F.group_token_mean(mask, group),
        F.group_completion_mean(mask, group),
    ):
        assert weights.sum().item() == pytest.approx(float(mask.any()))
        assert (weights[~mask] == 0).all()


# -- GAE -----------------------------------------------------------------------------------------


def check_gae(case, rewards, values, mask):
    config, expected = case["config"], case["expected"]
    tensors = [torch.tensor(x, dtype=torch.float64) for x in (rewards, values)]
    mask = torch.tensor(mask).bool()
    advantages, returns = F.gae(*tensors, mask, gamma=config["gamma"], lam=config["lam"])
    close(advantages, expected["advantages_raw"], 1e-9)
    close(returns, expected["returns"], 1e-9)
    if "advantages" in expected:
        close(F.whiten(advantages, mask), expected["advantages"], 1e-9)


@pytest.mark.parametrize("name", ["gae.length_one", "gae.interior_mask"])
def test_gae_of_given_rewards(golden, name):
    inputs = golden(name)["inputs"]
    check_gae(golden(name), inputs["token_rewards"], inputs["values"], inputs["mask"])


def test_gae_with_kl_in_the_reward(golden, f1):
    case = golden("gae.kl_in_reward")
    check_gae(case, case["expected"]["token_rewards"], f1["values"], f1["mask"])


def test_gae_with_a_discount(golden, f1):
    rewards = [[0, 0, 0, 1.0], [0, 0, 0, 0], [0, 0, 0.2, 0]]
    check_gae(golden("gae.seed_gamma"), rewards, f1["values"], f1["mask"])


# -- rows, tokens and groups ---------------------------------------------------------------------

FEW = st.lists(st.tuples(st.integers(0, 3), st.integers(-9, 9)), min_size=1, max_size=20)


def grouped(rows):
    return torch.tensor([float(x) for _, x in rows]), torch.tensor([g for g, _ in rows])


@given(FEW)
def test_a_group_max_is_the_largest_of_the_rows_that_share_a_number(rows):
    x, group = grouped(rows)
    assert F.group_max(x, group).tolist() == [max(o for h, o in rows if h == g) for g, _ in rows]


@given(FEW, st.floats(0.0, 1e4))
def test_a_group_softmax_is_that_of_each_group_however_large_its_numbers(rows, shift):
    x, group = grouped(rows)
    shares = F.group_softmax(x + shift, group)
    for name in group.unique():
        expected = (x[group == name] + shift).softmax(0)
        torch.testing.assert_close(shares[group == name], expected)


@given(FEW, st.integers(1, 5), st.randoms())
def test_the_top_k_are_the_same_in_any_order_and_equals_stay_together(rows, k, random):
    x, group = grouped(rows)
    kept = F.group_top_k(x, group, k)
    order = random.sample(range(len(rows)), len(rows))
    assert F.group_top_k(x[order], group[order], k).tolist() == kept[order].tolist()
    for name in group.unique():
        values = x[group == name]
        edge = values.sort(descending=True).values[:k][-1]
        assert kept[group == name].tolist() == (values >= edge).tolist()


def test_a_group_softmax_has_the_gradient_of_a_softmax():
    x, group = torch.randn(4, dtype=torch.float64, requires_grad=True), torch.tensor([0, 1, 0, 1])
    assert torch.autograd.gradcheck(lambda x: F.group_softmax(x, group), x)


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=5))
def test_a_row_mean_is_over_unmasked_tokens_and_gets_back_to_them(rows):
    mask = torch.tensor(rows)
    x = torch.arange(mask.numel(), dtype=torch.float64).reshape(mask.shape)
    x = torch.where(mask, x, torch.nan)
    expected = [float(x[i][m].mean()) if m.any() else 0.0 for i, m in enumerate(mask)]
    assert F.row_mean(x, mask).squeeze(-1).tolist() == expected
    back = F.to_tokens(F.row_mean(x, mask).squeeze(-1), mask)
    assert back.shape == mask.shape
    assert F.row_mean(back, mask).squeeze(-1).tolist() == expected
    assert not back[~mask].any()


def test_advantages_are_split_whatever_an_answer_looks_like():
    mask = torch.tensor([[True, True, False], [True, False, False]])
    per_row, baseline = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 0.5])
    expected = [[2.0, 2.0, 0.0], [-1.0, 0.0, 0.0]]
    per_token = torch.tensor([[2.0, 2.0, 7.0], [-1.0, 7.0, 7.0]])
    for answer in (per_row, per_token, {"advantages": per_row}, {"advantages": per_token}):
        advantages, others = F.split_advantages(answer, mask)
        assert advantages.tolist() == expected
        assert others == {}
    answer = {"advantages": per_row, "baseline": baseline}
    assert F.split_advantages(answer, mask)[1] == {"baseline": baseline}
    assert set(answer) == {"advantages", "baseline"}  # what was given stays as it is
