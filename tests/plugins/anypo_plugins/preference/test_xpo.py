import pytest
import torch
from rivals import Script

from anypo import Prompt, compose


def rolled(policy, reference, **knobs):
    """(token, preference, of_reference, group) of every sample."""
    script = Script(policy=[[x] for x in policy], reference=[[x] for x in reference])
    prompts = [Prompt([1, i], "") for i in range(len(policy))]
    samples = compose("xpo", knobs=knobs).rollout(prompts, script, script, {})
    columns = ("preference", "of_reference")
    return [(s.completion_ids[0], *(s.columns[c] for c in columns), s.group) for s in samples]


def test_reproduces_the_golden_numbers(reproduces_paper):
    algorithm = compose("xpo", knobs={"xpo_alpha": 0.3})
    reproduces_paper(algorithm, "xpo", of_reference=torch.tensor([0.0, 1.0, 1.0, 0.0]))


def test_the_better_of_policy_and_reference_is_chosen():
    assert rolled([5, 2, 4], [3, 7, 4]) == [
        (5, 1.0, 0.0, 0),
        (3, -1.0, 1.0, 0),
        (7, 1.0, 1.0, 1),
        (2, -1.0, 0.0, 1),
    ]


def test_of_a_tie_the_policy_may_be_chosen():
    assert rolled([4], [4], ties="first") == [(4, 1.0, 0.0, 0), (4, -1.0, 1.0, 0)]


def test_a_completion_without_an_end_may_lose():
    found = rolled([9], [3], missing_eos_penalty=1.0)
    assert [token for token, *_ in found] == [3, 9]


def test_only_the_reference_s_completion_is_made_less_likely(one_pair, loss_and_gradient):
    logprobs, batch = one_pair(-1.0, -2.0)
    batch = batch.replace(of_reference=torch.tensor([1.0, 0.0]))
    slopes = []
    for alpha in (0.3, 0.0):
        algorithm = compose("xpo", knobs={"xpo_alpha": alpha})
        loss, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
        assert loss.terms["explore"].item() == pytest.approx(-alpha)
        slopes.append(gradient)
    assert (slopes[0] - slopes[1]).flatten().tolist() == pytest.approx([0.3, 0.0])


def test_needs_a_reference_that_draws():
    algorithm = compose("xpo")
    assert algorithm.requires == {"reference"}
    assert algorithm.inputs.otherwise
