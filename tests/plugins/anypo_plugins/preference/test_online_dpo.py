from dataclasses import replace

import pytest
import torch

from anypo import AnypoError, Prompt, Sample, collate, compose


class Script:
    """Samples and scores as told: per prompt the (score, has ended) of every completion.

    The i-th completion of a prompt consists of the token 100 + i.
    """

    max_completion_length = 1

    def __init__(self, *groups):
        self.groups = groups

    def sample(self, prompts, n):
        assert all(len(group) == n for group in self.groups)
        return [
            Sample(prompt.ids, [100 + i], g, logprobs=[-1.0], truncated=not ended)
            for g, prompt in enumerate(prompts)
            for i, (_, ended) in enumerate(self.groups[g])
        ]

    def __call__(self, prompts, samples):
        told = [self.groups[s.group][s.completion_ids[0] - 100][0] for s in samples]
        return [replace(s, reward=score) for s, score in zip(samples, told, strict=True)]


def pairs(*groups, **knobs):
    """(chosen, rejected) by the group they are of, as samples."""
    script = Script(*groups)
    prompts = [Prompt([1, group], "") for group in range(len(groups))]
    algorithm = compose("online_dpo", knobs={"group_size": len(groups[0]), **knobs})
    samples = algorithm.rollout(prompts, script, script, {})
    assert [s.columns["preference"] for s in samples] == [1.0, -1.0] * (len(samples) // 2)
    assert all(s.prompt_ids == [1, s.group] for s in samples)
    found = zip(samples[::2], samples[1::2], strict=True)
    return {chosen.group: (chosen, rejected) for chosen, rejected in found}


def chosen_index(found, group):
    return found[group][0].completion_ids[0] - 100 if group in found else -1


@pytest.mark.parametrize(
    ("ties", "key"), [("drop", "chosen_index"), ("first", "chosen_index_ties_first")]
)
def test_reproduces_the_golden_pairs(golden, ties, key):
    case = golden("online_dpo.pairs")
    inputs, expected = case["inputs"], case["expected"]
    first = zip(inputs["scores_first"], inputs["eos_first"], strict=True)
    second = zip(inputs["scores_second"], inputs["eos_second"], strict=True)
    found = pairs(*zip(first, second, strict=True), missing_eos_penalty=1.0, ties=ties)
    assert [chosen_index(found, group) for group in range(3)] == expected[key]
    for group, (chosen, rejected) in found.items():
        assert chosen.reward == pytest.approx(expected["penalised_first"][group])
        assert rejected.reward == pytest.approx(expected["penalised_second"][group])


@pytest.mark.parametrize("stack", [("online_dpo",), ("online_dpo", "ipo")], ids="+".join)
def test_the_loss_is_that_of_the_offline_algorithm(reproduces_pairs, stack):
    name = "dpo.loss" if stack == ("online_dpo",) else "ipo.loss_mean"
    algorithm = compose(*stack)
    reproduces_pairs(algorithm, name)
    assert algorithm.inputs.sampler
    assert algorithm.inputs.scorer
    assert not algorithm.inputs.completions


def test_of_many_completions_the_best_meets_the_worst():
    scores = [0.3, 0.9, -0.2, 0.5]
    chosen, rejected = pairs([(score, True) for score in scores])[0]
    assert (chosen.completion_ids, rejected.completion_ids) == ([101], [102])


def test_a_penalty_can_make_the_best_the_worst():
    group = [(0.3, True), (0.9, False), (-0.2, True)]
    free, paid = (pairs(group, missing_eos_penalty=p)[0] for p in (0.0, 1.5))
    assert [s.completion_ids for s in free] == [[101], [102]]
    assert [s.completion_ids for s in paid] == [[100], [101]]
    assert paid[1].reward == pytest.approx(-0.6)


def test_a_prompt_whose_completions_are_penalised_into_a_tie_is_dropped():
    assert pairs([(1.5, False), (0.5, True)], missing_eos_penalty=1.0) == {}


@pytest.mark.parametrize("size", [2, 3])
def test_of_all_ties_the_first_completion_is_chosen_and_never_against_itself(size):
    chosen, rejected = pairs([(0.5, True)] * size, ties="first")[0]
    assert chosen.completion_ids == [100]
    assert rejected.completion_ids != [100]


def test_of_equally_good_completions_the_first_is_chosen():
    found = pairs([(0.1, True), (0.9, True), (0.9, True)])
    assert chosen_index(found, 0) == 1


def test_without_any_preference_there_is_no_sample():
    assert pairs([(1.0, True), (1.0, True)], [(0.0, True), (0.0, True)]) == {}


def test_a_dropped_pair_leaves_the_others_as_they_were():
    tie, left, right = ([(0.5, True)] * 2, [(1.0, True), (0.0, True)], [(0.0, True), (1.0, True)])
    with_tie, without = pairs(left, tie, right, tie), pairs(left, right)
    assert list(with_tie) == [0, 2]
    algorithm = compose("online_dpo")
    logprobs = torch.tensor([[-0.5], [-1.0], [-0.2], [-3.0]])
    losses = []
    for found in (with_tie, without):
        batch = collate([sample for pair in found.values() for sample in pair])
        batch = batch.replace(ref_logprobs=torch.zeros(4, 1))
        losses.append(algorithm.loss(logprobs, algorithm.prepare(batch)).total)
    assert losses[0] == losses[1]


def test_one_step_per_sample_needs_no_importance_ratio():
    assert compose("online_dpo").requires == {"reference"}


def test_a_pair_needs_two_completions():
    with pytest.raises(AnypoError, match="group_size"):
        compose("online_dpo", knobs={"group_size": 1})
