import json
import math
import statistics

import pytest
import torch

from anypo import AnypoError, Batch, compose
from anypo import functional as F
from anypo_plugins.policy_gradient.gfpo import GFPO, HISTORY

SUBSETS = {"gfpo.shortest_3of6": "shortest", "gfpo.token_efficiency_4of6": "token_efficiency"}
F1_SHORTEST = {"metric": "shortest", "keep": 2, "group_size": 3}


def lengthy_batch(rewards, lengths, group=None, dtype=torch.float64):
    mask = torch.arange(max(lengths)) < torch.tensor(lengths).unsqueeze(-1)
    group = torch.tensor(group or [0] * len(rewards))
    return Batch(mask=mask, group=group, rewards=torch.tensor(rewards, dtype=dtype))


def judged(batch, state=None, **knobs):
    return compose("gfpo", knobs=knobs).prepare(batch, state)


def kept(batch, **knobs):
    """The rows that stay in the loss."""
    mask = judged(batch, retained_only=True, **knobs).mask
    return mask.any(-1).nonzero().squeeze(-1).tolist()


def chosen(rows, k):
    """Of every group the k rows of most reward per token, then the shorter, then the earlier."""
    best = []
    for group in {row.group for row in rows}:
        mates = [row for row in rows if row.group == group]
        low = min(0.0, *(row.reward for row in mates), 0.0)
        order = [
            (-(row.reward - low) / max(len(row.tokens), 1), len(row.tokens), row.index)
            for row in mates
        ]
        best += [index for _, _, index in sorted(order)[:k]]
    return best


def by_hand_with(k, retained_only):
    def by_hand(rows, new, sg):
        best = chosen(rows, k)
        total = tokens = 0.0
        for row in rows:
            if row.index not in best and retained_only:
                continue
            tokens += len(row.tokens)
            rewards = [r.reward for r in rows if r.group == row.group and r.index in best]
            spread = statistics.stdev(rewards) if len(rewards) > 1 else 0.0
            advantage = (row.reward - statistics.mean(rewards)) / (spread + 1e-6)
            for t in row.tokens if row.index in best else []:
                ratio = math.exp(new[row.index][t] - row.old[t])
                total += min(ratio * advantage, min(max(ratio, 0.8), 1.28) * advantage)
        return -total / tokens

    return by_hand


@pytest.mark.parametrize("name", SUBSETS)
@pytest.mark.parametrize("correction", [0, 1])
def test_reproduces_the_golden_subsets(golden, name, correction, precision):
    dtype, tolerance = precision
    case = golden(name)
    batch = lengthy_batch(**case["inputs"], dtype=dtype)
    knobs = {"group_size": 6, "keep": case["config"]["k"], "metric": SUBSETS[name]}
    actual = judged(batch, std_correction=correction, **knobs).advantages[:, 0]
    key = "advantages" if correction else "advantages_population_std"
    expected = torch.tensor(case["expected"][key], dtype=dtype)
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)
    assert kept(batch, **knobs) == case["expected"]["retained"]


@pytest.mark.parametrize(("retained_only", "key"), [(False, "all_G"), (True, "retained_only")])
def test_reproduces_the_golden_denominators(
    golden, golden_batch, loss_and_gradient, retained_only, key, precision
):
    dtype, tolerance = precision
    case = golden("gfpo.loss_denominators")
    logprobs, batch = golden_batch("F1", dtype)
    knobs = {"group_size": 3, "keep": 2, "clip_high": 0.2, "retained_only": retained_only}
    algorithm = compose("dapo", "gfpo", knobs=knobs)
    prepared = algorithm.prepare(batch)
    advantages = torch.tensor(case["inputs"]["advantages"], dtype=dtype)
    torch.testing.assert_close(prepared.advantages[:, 0], advantages, rtol=1e-6, atol=1e-6)
    prepared = prepared.replace(advantages=advantages.unsqueeze(-1) * prepared.mask)
    close = {"rtol": tolerance, "atol": tolerance}
    loss, gradient = loss_and_gradient(algorithm, logprobs, prepared)
    expected = case["expected"]
    assert loss.total.item() == pytest.approx(expected[f"loss_{key}"], rel=tolerance)
    scale = 1 if key == "all_G" else 9 / 7  # tokens of all rows, of the retained ones
    wanted = scale * torch.tensor(expected["grad_logp_new_all_G"], dtype=dtype)
    torch.testing.assert_close(gradient, wanted, **close)


def test_reproduces_the_golden_stack_on_a_sequence_ratio(reproduces):
    reproduces(compose("gspo", "gfpo", knobs=F1_SHORTEST), "stack.gspo_gfpo")


def test_reproduces_the_golden_stack_below_modifiers(reproduces):
    algorithm = compose("dapo", "gfpo", "dual_clip", "tis", knobs=F1_SHORTEST)
    reproduces(algorithm, "stack.grpo_dapo_gfpo_dualclip_tis")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("retained_only", [False, True])
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed, retained_only):
    knobs = {"keep": 3, "retained_only": retained_only}
    by_hand = by_hand_with(3, retained_only)
    agrees_by_hand(compose("dapo", "gfpo", knobs=knobs), by_hand, *random_batch(seed))


@pytest.mark.parametrize("base", ["grpo", "dapo", "dr_grpo", "gspo"])
def test_retained_only_is_as_if_the_rejected_rows_had_been_dropped(random_batch, base):
    logprobs, batch = random_batch()
    algorithm = compose(base, "gfpo", knobs={"keep": 2, "retained_only": True})
    prepared = algorithm.prepare(batch)
    rows = prepared.mask.any(-1).nonzero().squeeze(-1)
    alone = algorithm.weigh(prepared.rows(rows), {})
    assert 0 < len(rows) < int(batch.mask.any(-1).sum())
    together = algorithm.loss(logprobs, prepared).total
    torch.testing.assert_close(algorithm.loss(logprobs[rows], alone).total, together)


def test_rejected_rows_still_pay_for_their_kl_unless_only_the_retained_count(random_batch):
    logprobs, batch = random_batch()
    terms = {}
    for retained_only in (False, True):
        algorithm = compose("gfpo", knobs={"keep": 2, "retained_only": retained_only})
        leaf = logprobs.clone().requires_grad_()
        algorithm.loss(leaf, algorithm.prepare(batch)).total.backward()
        terms[retained_only] = int(leaf.grad.any(-1).sum())
    assert terms[False] == int(batch.mask.any(-1).sum()) > terms[True]


def test_is_a_layer_that_keeps_the_other_knobs_of_the_stack():
    knobs = compose("dapo", "gfpo").knobs
    assert (knobs["clip_high"].value, knobs["kl_coef"].value) == (0.28, 0.0)
    assert (knobs["group_size"].value, knobs["group_size"].origin) == (16, "default of gfpo")


def test_equal_scores_prefer_the_shorter_then_the_earlier():
    batch = lengthy_batch([0.0, 0.0, 1.0, 0.0], [2, 1, 9, 2])
    assert kept(batch, group_size=4, keep=3) == [0, 1, 2]


def test_negative_rewards_do_not_make_long_wrong_answers_efficient():
    batch = lengthy_batch([-1.0, -1.0, 0.5, -1.0], [100, 10, 50, 60])
    assert kept(batch, group_size=4, keep=2) == [1, 2]


def test_a_group_of_no_more_than_keep_rows_is_kept_whole():
    batch = lengthy_batch([1.0, 0.0, 0.5], [3, 2, 1], group=[4, 4, 8])
    assert kept(batch, keep=8) == [0, 1, 2]


def test_equal_rewards_of_the_kept_rows_teach_nothing():
    batch = lengthy_batch([1.0, 0.0, 1.0, 0.0], [1, 8, 2, 9])
    assert not judged(batch, group_size=4, keep=2).advantages.any()


def test_ranks_by_a_metric_of_the_user(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def longest(rewards, lengths):\n    return lengths + 0 * rewards\n")
    batch = lengthy_batch([1.0, 0.0, 1.0, 0.5], [1, 8, 2, 9])
    assert kept(batch, group_size=4, keep=2, metric=f"{file}:longest") == [1, 3]


def test_an_edited_metric_is_the_one_that_the_next_run_uses(tmp_path):
    file = tmp_path / "mine.py"
    batch = lengthy_batch([1.0, 0.0, 1.0, 0.5], [1, 8, 2, 9])
    for code, rows in (("lengths + 0", [1, 3]), ("0 - lengths - 0", [0, 2])):
        file.write_text(f"def mine(rewards, lengths):\n    return {code}\n")
        assert kept(batch, group_size=4, keep=2, metric=f"{file}:mine") == rows


def test_a_metric_is_loaded_once_for_a_run(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("def mine(rewards, lengths):\n    return lengths + 0\n")
    algorithm = compose("gfpo", knobs={"group_size": 4, "keep": 2, "metric": f"{file}:mine"})
    batch = lengthy_batch([1.0, 0.0, 1.0, 0.5], [1, 8, 2, 9])
    before = algorithm.prepare(batch).advantages
    file.unlink()
    assert torch.equal(algorithm.prepare(batch).advantages, before)


@pytest.mark.parametrize(
    ("code", "name", "reason"),
    [
        ("x = 1", "rank", "defines no function 'rank'"),
        ("def rank(:", "rank", "SyntaxError"),
        ("def rank(rewards, lengths):\n    return rewards.sum()", "rank", "not 16 numbers"),
        ("def rank(rewards, lengths):\n    return rewards * float('nan')", "rank", "numbers"),
    ],
    ids=["missing", "broken", "one number", "nan"],
)
def test_a_bad_metric_is_refused_when_it_is_loaded(tmp_path, code, name, reason):
    file = tmp_path / "mine.py"
    file.write_text(code)
    with pytest.raises(AnypoError, match=reason):
        compose("gfpo", knobs={"metric": f"{file}:{name}"})


@pytest.mark.parametrize(
    ("metric", "reason"),
    [
        ("briefest", "there is token_efficiency and shortest"),
        ("nowhere.py:rank", "no file 'nowhere.py'"),
        ("mine:rank", "No module named 'mine'"),
    ],
)
def test_an_unknown_metric_is_refused(metric, reason):
    with pytest.raises(AnypoError, match=reason):
        compose("gfpo", knobs={"metric": metric})


def test_adaptive_keeps_what_the_golden_quartiles_say(golden):
    case = golden("gfpo.adaptive_k")
    inputs, names = case["inputs"], ("keep_very_hard", "keep_hard", "keep_medium", "keep_easy")
    config = [case["config"][name.replace("keep", "k")] for name in names]
    plugin = GFPO(**dict(zip(names, config, strict=True)))
    means, history = inputs["new_mean_reward"], inputs["history_mean_reward"]
    assert plugin.keep_by_difficulty(means, history) == case["expected"]["k"]
    edges = case["expected"]["quartiles"]
    assert plugin.keep_by_difficulty(edges, history) == config[1:]


def quarter_groups(shift=0.0):
    """Four groups of six rows each, from hard to easy."""
    rewards = [0.1 * group + 0.01 * i + shift for group in range(4) for i in range(6)]
    group = [group for group in range(4) for _ in range(6)]
    return lengthy_batch(rewards, [1 + i % 6 for i in range(24)], group)


ADAPTIVE = {
    "adaptive": True,
    "group_size": 6,
    "keep": 2,
    "keep_very_hard": 5,
    "keep_hard": 4,
    "keep_medium": 3,
    "keep_easy": 2,
}


def kept_of_each_group(batch, state, **knobs):
    mask = judged(batch, state, retained_only=True, **ADAPTIVE, **knobs).mask
    return F.group_sum(mask.any(-1).double(), batch.group)[::6].tolist()


def test_adaptive_ranks_the_current_prompts_among_those_seen():
    state = {"gfpo": {"steps": 10, "means": []}}
    assert kept_of_each_group(quarter_groups(), state) == [5, 4, 3, 2]
    assert kept_of_each_group(quarter_groups(shift=9.0), state) == [3, 3, 2, 2]


def test_adaptive_keeps_a_fixed_number_while_it_warms_up():
    state = {}
    for expected in ([2] * 4, [2] * 4, [5, 4, 3, 2]):
        assert kept_of_each_group(quarter_groups(), state, adaptive_warmup=2) == expected


def test_adaptive_remembers_in_the_state_what_a_checkpoint_can_hold():
    state = {}
    kept_of_each_group(quarter_groups(), state, adaptive_warmup=1)
    restored = json.loads(json.dumps(state))
    assert kept_of_each_group(quarter_groups(), restored, adaptive_warmup=1) == [5, 4, 3, 2]
    assert restored["gfpo"]["steps"] == 2


def test_adaptive_forgets_the_oldest_prompts():
    state = {"gfpo": {"steps": 5, "means": [9.0] * HISTORY}}
    kept_of_each_group(quarter_groups(), state)
    assert len(state["gfpo"]["means"]) == HISTORY
    assert state["gfpo"]["means"][-1] == pytest.approx(0.325)


def test_fixed_numbers_leave_no_state():
    state = {}
    judged(quarter_groups(), state, group_size=6, keep=2)
    assert state == {}


@pytest.mark.parametrize(
    "knobs",
    [
        {"keep": 16},
        {"group_size": 8, "keep": 8},
        {"keep": 1},
        {"adaptive": True, "keep_very_hard": 16},
        {"keep_easy": 3},
        {"adaptive_warmup": 3},
    ],
)
def test_refuses_knobs_without_an_effect_or_out_of_range(knobs):
    with pytest.raises(AnypoError, match=list(knobs)[-1]):
        compose("gfpo", knobs=knobs)


def test_needs_no_more_than_what_is_below():
    assert compose("gfpo").requires == {"old_logprobs", "reference"}
    assert compose("dapo", "gfpo").requires == {"old_logprobs"}
    assert compose("gspo", "gfpo").requires == {"old_logprobs"}


def test_of_equally_short_completions_the_better_rewarded_is_kept():
    mask = torch.ones(3, 2, dtype=torch.bool)
    rewards = torch.tensor([0.0, 1.0, 0.5], dtype=torch.float64)
    batch = Batch(mask=mask, group=torch.zeros(3).long(), rewards=rewards)
    knobs = {"metric": "shortest", "keep": 2, "group_size": 3}
    assert (compose("gfpo", knobs=knobs).prepare(batch).advantages[:, 0] != 0).tolist() == [
        False,
        True,
        True,
    ]
