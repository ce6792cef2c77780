import math
from dataclasses import replace

import pytest
import torch

from anypo import AnypoError, Prompt, Sample, collate, compose
from anypo import functional as F
from anypo_plugins.policy_gradient.dapo import DAPO


def clipped_surrogate(ratio, advantage):
    return min(ratio * advantage, min(max(ratio, 0.8), 1.28) * advantage)


def by_hand(rows, new, sg):
    gains = [
        clipped_surrogate(math.exp(new[row.index][t] - row.old[t]), row.advantage)
        for row in rows
        for t in row.tokens
    ]
    return -sum(gains) / len(gains)


def answers(lengths, scores, groups, **more):
    return [
        Sample([1], list(range(length)), group, reward=0.0, scores={"accuracy": score}, **more)
        for length, score, group in zip(lengths, scores, groups, strict=True)
    ]


class Fixed:
    """Samples whatever it was given."""

    max_completion_length = 20

    def __init__(self, samples):
        self.samples = samples

    def sample(self, prompts, n):
        return self.samples


def scored(prompts, samples):
    return samples


def rollout(samples, **knobs):
    prompts = [Prompt([1], "") for _ in {sample.group for sample in samples}]
    return compose("dapo", knobs=knobs).rollout(prompts, Fixed(samples), scored, {})


def test_reproduces_the_golden_loss(reproduces):
    reproduces(compose("dapo"), "dapo.loss")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("dapo"), by_hand, *random_batch(seed))


def test_padding_may_hold_anything(reproduces, golden, golden_batch, precision):
    inputs = golden("edge.garbage_padding")["inputs"]
    old = golden_batch("F1", precision[0])[1].old_logprobs.clone()
    old[1, 2:] = inputs["logp_old_row1_pad"]
    padding = inputs["logp_new_row1_pad"]
    reproduces(compose("dapo"), "edge.garbage_padding", padding=padding, old_logprobs=old)


def test_differs_from_grpo_in_these_knobs_and_hooks_alone():
    dapo, grpo = compose("dapo").knobs, compose("grpo").knobs
    changed = {name for name in grpo if dapo[name].value != grpo[name].value}
    assert changed == {"group_size", "clip_high", "kl_coef"}
    assert (dapo["group_size"].value, dapo["clip_high"].value) == (16, 0.28)
    hooks = {
        answer.stage for answer in compose("dapo").explain().answers if answer.plugin == "dapo"
    }
    assert hooks == {"rollout", "weight"}


def test_needs_no_reference():
    assert compose("dapo").requires == {"old_logprobs"}


def test_dynamic_sampling_keeps_the_groups_with_unequal_raw_scores(golden):
    case = golden("dapo.dynamic_sampling")
    inputs, keep = case["inputs"], case["expected"]["keep_group"]
    samples = [
        Sample([1], [2], group, reward=shaped, scores={"accuracy": float(accuracy)})
        for group, shaped, accuracy in zip(
            inputs["group"], inputs["shaped_reward"], inputs["accuracy"], strict=True
        )
    ]
    kept = rollout(samples)
    assert kept == [sample for sample in samples if keep[sample.group]]
    assert rollout(samples, filter_groups=False) == samples


def test_overlong_punishment_does_not_save_a_group_of_equal_scores():
    wrong = answers([10, 19], [0.0, 0.0], [0, 0])
    mixed = answers([10, 19], [0.0, 1.0], [1, 1])
    kept = rollout(wrong + mixed, overlong_cache=4)
    assert [(sample.group, sample.reward) for sample in kept] == [(1, 0.0), (1, -0.75)]


def test_groups_are_judged_by_the_weighted_sum_of_the_scores_that_apply():
    def sample(a, b):
        weights = {"a": 1.0, "b": 0.0}
        return Sample([1], [2], 0, reward=9.0, scores={"a": a, "b": b}, score_weights=weights)

    assert rollout([sample(1.0, 0.0), sample(1.0, 5.0), sample(1.0, math.nan)]) == []
    assert len(rollout([sample(1.0, 0.0), sample(math.nan, 0.0)])) == 2


LENGTH = {"right": 1.0, "length": 0.001}


def prompts_of(*groups):
    """Samples of groups of (right, tokens) pairs, whose lengths are rewarded a little as well."""
    return [
        Sample(
            [1],
            list(range(length)),
            group,
            reward=right - 0.001 * length,
            scores={"right": right, "length": -float(length)},
            score_weights=LENGTH,
        )
        for group, rows in enumerate(groups)
        for right, length in rows
    ]


WRONG = [(0.0, length) for length in (3, 5, 9)]
RIGHT = [(1.0, length) for length in (3, 5, 9)]
MIXED = [(1.0, 4), (0.0, 4), (0.0, 7)]


def kept_and_said(samples, **knobs):
    prompts, state = [Prompt([1], "") for _ in {sample.group for sample in samples}], {}
    kept = compose("dapo", knobs=knobs).rollout(prompts, Fixed(samples), scored, state)
    return sorted({sample.group for sample in kept}), state.get("notes", [])


def test_groups_can_be_judged_by_one_reward():
    samples = prompts_of(WRONG, MIXED, WRONG)
    assert kept_and_said(samples, filter_by="right") == ([1], [])
    assert kept_and_said(samples, filter_by="length") == ([0, 1, 2], [])


def test_a_reward_that_does_not_apply_judges_no_group():
    unscored = [replace(s, scores={**s.scores, "right": math.nan}) for s in prompts_of(WRONG)]
    assert kept_and_said(unscored, filter_by="right") == ([], [])


@pytest.mark.parametrize("groups", [(WRONG, MIXED, MIXED), (WRONG, WRONG), (RIGHT, MIXED)])
def test_a_reward_that_keeps_groups_which_agree_in_another_is_told(groups):
    kept, (note,) = kept_and_said(prompts_of(*groups))
    assert kept == list(range(len(groups)))
    assert "keeps most groups whose 'right' scores are all equal" in note
    assert "if 'right' is what counts, --filter-by right drops them" in note


def test_a_reward_that_keeps_few_of_those_groups_is_not_told():
    alike = [(0.0, 4), (0.0, 4), (0.0, 4)]
    assert kept_and_said(prompts_of(WRONG, alike, MIXED, alike)) == ([0, 2], [])


def test_a_reward_that_is_always_given_hides_nothing():
    graded = [
        replace(s, scores={"polite": 1.0, "graded": s.scores["length"]}, score_weights={})
        for s in prompts_of(WRONG, MIXED)
    ]
    assert kept_and_said(graded) == ([0, 1], [])


def test_rewards_of_right_and_wrong_hide_none():
    polite = [
        replace(s, scores={"right": s.scores["right"], "polite": 1.0}, score_weights={})
        for s in prompts_of(MIXED, WRONG)
    ]
    assert kept_and_said(polite) == ([0], [])


def test_an_unknown_reward_to_judge_by_names_those_there_are():
    with pytest.raises(AnypoError, match=r"filter_by names 'correct', .* are right, length"):
        kept_and_said(prompts_of(MIXED), filter_by="correct")


def test_judging_by_a_reward_is_refused_where_groups_are_not_judged():
    with pytest.raises(AnypoError, match="filter_by"):
        compose("dapo", knobs={"filter_groups": False, "filter_by": "right"})


def test_overlong_punishment_reproduces_the_golden_penalties(golden):
    case = golden("dapo.overlong")
    lengths, config = case["inputs"]["lengths"], case["config"]
    samples = answers(lengths, [0.0, 1.0] * 3, [0] * 6)
    assert Fixed.max_completion_length == config["L_max"]
    shaped = rollout(samples, overlong_cache=config["L_cache"])
    assert [s.reward for s in shaped] == pytest.approx(case["expected"]["penalty"])
    assert [s.scores for s in shaped] == [s.scores for s in samples]


def test_overlong_punishment_is_off_unless_asked_for():
    samples = answers([10**4, 1], [0.0, 1.0], [0, 0])
    assert rollout(samples) == samples


def test_masking_truncated_rows_reproduces_the_golden_loss(golden, golden_batch):
    case = golden("edge.truncated_masking")
    _, batch = golden_batch("F1")
    rows = zip(
        batch.rewards.tolist(), batch.lengths.tolist(), case["inputs"]["truncated"], strict=True
    )
    samples = [
        Sample([1], [2] * length, 0, reward, {"accuracy": reward}, truncated=bool(truncated))
        for reward, length, truncated in rows
    ]
    kept = rollout(samples, mask_truncated=True)
    mask = collate(kept).mask
    assert int(mask.sum()) == case["expected"]["loss_mask_tokens"]
    logprobs, batch = golden_batch("F1", mask=mask)
    algorithm = compose("dapo", knobs={"mask_truncated": True})
    prepared = algorithm.prepare(batch)
    standard = F.group_standardize(batch.rewards, batch.group).unsqueeze(-1)
    torch.testing.assert_close(prepared.advantages, standard * mask)
    loss = algorithm.loss(logprobs, prepared).total
    assert loss.item() == pytest.approx(case["expected"]["loss"], rel=1e-9)


def test_truncated_rows_keep_their_reward_and_may_be_empty():
    samples = answers([3, 0], [1.0, 0.0], [0, 0], truncated=True)
    kept = rollout(samples, mask_truncated=True)
    assert [sample.mask for sample in kept] == [[False] * 3, []]
    assert [sample.reward for sample in kept] == [0.0, 0.0]
    assert not collate(kept).mask.any()


def test_a_rollout_without_unequal_groups_is_empty():
    assert rollout(answers([1, 2, 3], [1.0, 1.0, 0.0], [0, 0, 1])) == []


def test_a_knob_below_is_set_through_the_stack():
    assert compose(DAPO(clip_high=0.3)).knobs["clip_high"].value == 0.3
    with pytest.raises(AnypoError, match="clip_high = -1"):
        compose("dapo", knobs={"clip_high": -1.0})


def test_a_knob_of_the_absent_kl_penalty_is_refused():
    with pytest.raises(AnypoError, match="kl_estimator"):
        compose("dapo", knobs={"kl_estimator": "k1"})


def test_stacks_with_dual_clip_and_tis_as_in_the_golden_stack(reproduces):
    algorithm = compose("dapo", "dual_clip", "tis")
    reproduces(algorithm, "stack.grpo_dapo_gfpo_dualclip_tis", advantages="given")
