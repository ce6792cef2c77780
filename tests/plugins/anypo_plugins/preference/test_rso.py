import math
from collections import Counter

import pytest
import torch
from rivals import Script

from anypo import Prompt, collate, compose


def rso(**knobs):
    return compose("rso", knobs=knobs)


def rolled(algorithm, *groups, step=1):
    script = Script(reference=groups)
    prompts = [Prompt([1, i], "") for i in range(len(groups))]
    return algorithm.rollout(prompts, script, script, {"step": step})


def test_the_loss_is_the_hinge(reproduces_paper):
    reproduces_paper(compose("rso"), "hinge", pair=torch.tensor([0, 0, 0, 0]))


def test_as_many_are_kept_as_asked_for_and_each_once():
    samples = rolled(rso(group_size=20, keep=6, rso_beta=100.0), range(20))
    tokens = [s.completion_ids[0] for s in samples]
    assert len(set(tokens)) == len(tokens) == 6


def test_pairs_of_a_prompt_are_groups_of_their_own():
    algorithm = rso(group_size=8, keep=4, rso_beta=100.0)
    samples = rolled(algorithm, range(8), range(8))
    batch = collate(samples).replace(ref_logprobs=torch.zeros(8, 1))
    assert batch.group.tolist() == [0] * 4 + [1] * 4
    assert Counter(algorithm.prepare(batch).group.tolist()) == {0: 2, 1: 2, 4: 2, 5: 2}
    for chosen, rejected in zip(samples[::2], samples[1::2], strict=True):
        assert (chosen.columns["preference"], rejected.columns["preference"]) == (1.0, -1.0)
        assert chosen.reward > rejected.reward


@pytest.mark.parametrize("rso_beta", [0.5, 1.0])
def test_bad_ones_are_kept_as_often_as_the_best_policy_writes_them(rso_beta):
    algorithm = rso(group_size=4, keep=2, rso_beta=rso_beta)
    groups = [[0, 0, 9, 9]] * 2000  # kept are the first two that are accepted in one pass
    pairs = len(rolled(algorithm, *groups)) / 2
    bad = math.exp(-0.9 / rso_beta)
    assert pairs / 2000 == pytest.approx(2 * bad * (1 - bad), abs=0.05)


def test_equals_make_no_pair():
    assert rolled(rso(group_size=4, keep=4), [4, 4, 4, 4]) == []


def test_what_is_drawn_hangs_on_the_step_alone():
    algorithm = rso(group_size=20, keep=4)
    one, again, later = (
        [s.completion_ids for s in rolled(algorithm, range(20), step=step)] for step in (3, 3, 4)
    )
    assert one == again != later


def test_draws_from_the_reference_alone():
    algorithm = compose("rso")
    assert algorithm.requires == {"reference"}
    assert algorithm.inputs.otherwise
