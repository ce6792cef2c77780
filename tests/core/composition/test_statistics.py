"""Numbers of whole distributions, and weights that ask the policy: what a trial finds of them."""

import pytest
import torch

import anypo.functional as F
from anypo import Batch, Plugin, compose, hookimpl
from anypo.errors import PluginError


class Concentration(Plugin):
    """Says how much of the probability is where."""

    @hookimpl
    def distribution(self, log_distribution):
        return {"concentration": (2 * log_distribution).exp().sum(-1)}


class Penalty(Concentration):
    """And pays for it."""

    @hookimpl
    def regularizer(self, token_statistics):
        return {"concentration": 0.5 * token_statistics["concentration"]}


class Weighed(Concentration):
    """Weighs by what it was before the update."""

    @hookimpl(wrapper=True)
    def weight(self, batch):
        return (yield) * batch.concentration


class Distilled(Plugin):
    """Compares with a teacher."""

    @hookimpl
    def distribution(self, log_distribution, teacher_log_distribution):
        return {"gap": F.kl(log_distribution, teacher_log_distribution)}

    @hookimpl(wrapper=True)
    def clip(self, token_statistics):
        return (yield) - token_statistics["gap"]


class AsksNow(Plugin):
    """Weighs by what the policy says now, and remembers the step."""

    @hookimpl(wrapper=True)
    def weight(self, logprobs, entropy, state):
        return (yield) * (logprobs + entropy).sigmoid() * state["step"] / state["steps"]


def test_a_trial_finds_what_there_is_and_whether_it_is_read_before_the_update():
    named = compose("grpo", Concentration).findings
    assert (named.statistics, named.old_statistics) == ({"concentration"}, False)
    assert compose("grpo", Weighed).findings.old_statistics
    paid = compose("grpo", Penalty)
    assert not paid.findings.old_statistics
    assert "token_statistics" in paid.asks("clip", "regularizer")
    assert not paid.findings.only_advantages_count
    assert not compose("grpo").findings.statistics


def test_a_teacher_is_required_where_its_distribution_is_named():
    assert "teacher" in compose("grpo", Distilled).requires
    assert "teacher" not in compose("grpo", Penalty).requires


def test_the_loss_has_what_is_made_of_them():
    algorithm = compose("grpo", Penalty, knobs={"kl_coef": 0.0})
    batch = compose("grpo").prepare(made_batch())
    logprobs = torch.zeros(2, 3, requires_grad=True)
    given = torch.tensor([[0.5, 0.25, 9.0], [1.0, 0.0, 0.5]], requires_grad=True)
    loss = algorithm.loss(logprobs, batch, token_statistics={"concentration": given})
    loss.total.backward()
    assert loss.terms["concentration"] == pytest.approx(0.5 * (0.75 / 4 + 1.5 / 6))
    assert given.grad.tolist() == [[0.125, 0.125, 0.0], pytest.approx([1 / 12] * 3)]


def test_an_explanation_shows_it():
    stages = {answer.stage: answer.plugin for answer in compose("grpo", Penalty).explain().answers}
    assert stages["distribution"] == "penalty"


def test_weights_are_given_what_the_policy_says_now():
    algorithm = compose("grpo", AsksNow)
    assert {"logprobs", "entropy", "state"} <= algorithm.asks("weight")
    assert not compose("grpo").asks("weight") & {"logprobs", "entropy", "state"}
    batch, ones = made_batch(), torch.ones(2, 3)
    plain = compose("grpo").prepare(batch).weights["policy"]
    now = {"logprobs": 0 * ones, "entropy": 0 * ones}
    weighed = algorithm.prepare(batch, {"step": 3, "steps": 6}, **now).weights["policy"]
    torch.testing.assert_close(weighed, plain / 4)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"mask": torch.zeros(56)}, "'distribution' of plugin 'odd' returns 'mask', which the ba"),
        ({"entropy": torch.zeros(56)}, "returns 'entropy', which the batch has already"),
        ({"x": torch.zeros(3)}, r"x is a tensor of shape \[3\], expected shape \[56\]"),
        ({"x": 5}, r"x is 5, expected shape \[56\]"),
        (5, "returned 5, no dict"),
    ],
)
def test_a_wrong_answer_is_refused(made, said):
    class Odd(Plugin):
        """Is wrong."""

        @hookimpl
        def distribution(self):
            return made

    with pytest.raises(PluginError, match=said):
        compose("grpo", Odd, knobs={"group_size": 8, "kl_coef": 0.0})


def made_batch():
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    zeros = torch.zeros(2, 3)
    return Batch(
        mask=mask,
        group=torch.tensor([0, 0]),
        rewards=torch.tensor([0.0, 1.0]),
        old_logprobs=zeros,
        ref_logprobs=zeros,
    )


class DrawsFrom(Plugin):
    """Draws half of its completions from another model."""

    source: str = "reference"

    @hookimpl
    def rollout(self, prompts, sampler, scorer):
        both = [*sampler.sample(prompts, 1), *sampler.sample(prompts, 1, model=self.source)]
        return scorer(prompts, both)


def test_a_model_that_draws_is_required():
    algorithm = compose("grpo", DrawsFrom, knobs={"kl_coef": 0.0})
    assert "reference" in algorithm.requires
    with pytest.raises(PluginError, match="'rollout' of plugin 'draws_from' draws from 'somebody'"):
        compose("grpo", DrawsFrom, knobs={"source": "somebody"})
