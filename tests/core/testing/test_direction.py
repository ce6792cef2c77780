"""A plugin that leads the wrong way is caught, whatever else is right about it."""

import pytest
import torch
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, hookimpl
from anypo.testing import Status
from anypo.testing.check import examine, make_subject
from anypo_plugins.distillation.opd import OPD
from anypo_plugins.policy_gradient.grpo import GRPO
from anypo_plugins.policy_gradient.gspo import GSPO
from anypo_plugins.policy_gradient.ppo import PPO
from anypo_plugins.preference.discopop import DiscoPOP
from anypo_plugins.preference.dpo import DPO
from anypo_plugins.preference.kto import KTO
from anypo_plugins.preference.mpo import MPO
from anypo_plugins.supervised.sft import SFT


class FlippedAdvantage(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        return -F.group_standardize(batch.rewards, batch.group)


class ReturnsALoss(Plugin):
    extends = (GRPO,)

    @hookimpl
    def clip(self, log_ratio, advantages):
        return -F.clipped_surrogate(log_ratio, advantages, self.clip_low, self.clip_high)


class FlippedEstimates(Plugin):
    """GAE of a loss, per token."""

    extends = (PPO,)

    @hookimpl(wrapper=True)
    def advantage(self):
        answer = yield
        return {**answer, "advantages": -answer["advantages"]}


class Outer(Plugin):
    """max for min in the surrogate."""

    extends = (GRPO,)

    @hookimpl
    def clip(self, log_ratio, advantages):
        ratio = F.exp_ratio(log_ratio)
        clipped = ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        return torch.maximum(ratio * advantages, clipped * advantages)


class OuterSequence(Outer):
    extends = (GSPO,)


class RewardedKL(Plugin):
    extends = (GRPO,)

    @hookimpl
    def regularizer(self, logprobs, batch):
        kl = F.kl_penalty(logprobs, batch.ref_logprobs, batch.old_logprobs)
        return {"kl": -self.kl_coef * kl}


class RewardedKLInAdvantages(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        drift = F.to_tokens(batch.rewards, batch.mask) + batch.old_logprobs - batch.ref_logprobs
        return F.masked(drift, batch.mask)


class AwayFromTheTeacher(Plugin):
    extends = (OPD,)

    @hookimpl
    def advantage(self, batch):
        return batch.old_logprobs - batch.teacher_logprobs


class UpsideDownDPO(Plugin):
    extends = (DPO,)

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        return logsigmoid(-self.beta * F.margin(log_ratio, advantages, batch.group))


class UpsideDownPreferences(Plugin):
    extends = (DPO,)

    @hookimpl
    def advantage(self, batch):
        return -batch["preference"]


class UpsideDownLabels(Plugin):
    extends = (KTO,)

    @hookimpl(wrapper=True)
    def advantage(self):
        answer = yield
        return {**answer, "advantages": -answer["advantages"]}


class Unlearns(Plugin):
    extends = (SFT,)

    @hookimpl
    def clip(self, log_ratio):
        return -log_ratio


class Sum(Plugin):
    """Weights without a denominator."""

    extends = (GRPO,)

    @hookimpl
    def weight(self, batch):
        return batch.mask.double()


class SumOfCompletions(Plugin):
    extends = (GRPO,)

    @hookimpl
    def weight(self, batch):
        return batch.mask / batch.lengths.clamp(min=1).unsqueeze(-1)


class EveryRowAPair(Plugin):
    """Twice the loss: each pair counts once for either row."""

    extends = (DPO,)

    @hookimpl
    def weight(self, batch):
        return 2 * F.group_completion_mean(batch.mask, batch.group)


class Unread(Plugin):
    extends = (GRPO,)

    tau: float = 0.1

    @hookimpl
    def clip(self, log_ratio, advantages):
        return torch.tanh(log_ratio / 0.1) * 0.1 * advantages


CAUGHT = [
    (FlippedAdvantage, "better_ones", ["'advantage' of plugin", "rewarded with 1", "flipped"]),
    (ReturnsALoss, "better_ones", ["'clip' of plugin 'returns_a_loss'", "no loss"]),
    (FlippedEstimates, "better_ones", ["'advantage' of plugin 'flipped_estimates'"]),
    (Outer, "way_back", ["'clip' of plugin 'outer'", "torch.maximum", "on 2 rows"]),
    (OuterSequence, "way_back", ["'clip' of plugin 'outer_sequence'"]),
    (RewardedKL, "towards_reference", ["'regularizer' of plugin 'rewarded_kl'", "plus"]),
    (RewardedKLInAdvantages, "towards_reference", ["'advantage' of plugin", "minus"]),
    (AwayFromTheTeacher, "towards_reference", ["'advantage' of plugin", "the teacher finds"]),
    (UpsideDownDPO, "better_ones", ["'clip' of plugin", "where it is chosen"]),
    (UpsideDownPreferences, "better_ones", ["'advantage' of plugin", "where it is rejected"]),
    (UpsideDownLabels, "better_ones", ["'advantage' of plugin", "labelled good"]),
    (Unlearns, "better_ones", ["'clip' of plugin 'unlearns'", "where it is shown"]),
    (Sum, "denominators", ["'weight' of plugin 'sum'", "2 times as large", "token_mean"]),
    (SumOfCompletions, "denominators", ["'weight' of plugin 'sum_of_completions'"]),
    (EveryRowAPair, "denominators", ["add up to 2", "group_completion_mean"]),
    (Unread, "knobs", ["'tau' of 'unread'", "self.tau"]),
]


def found(plugin, name):
    return examine(name, make_subject(plugin, on=(), knobs=None, claims=None))


@pytest.mark.parametrize(("plugin", "name", "words"), CAUGHT, ids=[p.__name__ for p, *_ in CAUGHT])
def test_a_wrong_plugin_is_caught(plugin, name, words):
    result = found(plugin, name)
    assert result.status is Status.FAILED
    assert not [word for word in words if word not in result.detail], result.detail


class K1(Plugin):
    """A penalty whose gradient does not hang on the reference."""

    @hookimpl
    def regularizer(self, logprobs, batch):
        return {"kl": 0.1 * F.k1(logprobs, batch.ref_logprobs)}


class Adverse(Plugin):
    """A bound on both sides: no token far away is learnt, whichever way it went."""

    extends = (GRPO,)

    @hookimpl
    def clip(self, log_ratio, advantages):
        near = log_ratio.detach().abs() < 0.2
        return torch.where(near, F.exp_ratio(log_ratio), 1.0) * advantages


class OwnDenominator(Plugin):
    """The denominator stands in the advantage."""

    extends = (GRPO,)

    kl_coef: float = 0.0

    @hookimpl
    def advantage(self, batch):
        return F.group_standardize(batch.rewards, batch.group) / len(batch)

    @hookimpl
    def weight(self, batch):
        return batch.mask / batch.lengths.clamp(min=1).unsqueeze(-1)


class ReadElsewhere(Plugin):
    """A helper of the module reads its knob."""

    temperature: float = 1.0
    share: float = 1.0

    @hookimpl(wrapper=True)
    def clip(self):
        return helped(self) * (yield)


def helped(plugin):
    return plugin.temperature * getattr(plugin, "share")  # noqa: B009


RIGHT = [
    *((K1, name) for name in ("towards_reference", "better_ones")),
    *((Adverse, name) for name in ("way_back", "better_ones")),
    *((OwnDenominator, name) for name in ("denominators", "better_ones")),
    (ReadElsewhere, "knobs"),
    (
        MPO,
        "towards_reference",
    ),  # whose penalty pulls alike wherever that is
]


@pytest.mark.parametrize(("plugin", "name"), RIGHT)
def test_what_is_right_in_another_way_is_no_finding(plugin, name):
    assert found(plugin, name).status is Status.PASSED


def test_another_direction_may_be_meant():
    claimed = found(DiscoPOP, "better_ones")
    assert claimed.status is Status.NOT_APPLICABLE
    assert "own_direction" in claimed.detail
    unclaimed = type("Unclaimed", (DiscoPOP,), {"claims": ()})
    assert found(unclaimed, "better_ones").status is Status.FAILED


def test_without_better_ones_the_direction_is_not_known():
    class Talks(Plugin):
        extends = (GRPO,)

        @hookimpl
        def rollout(self, prompts, sampler):
            return sampler.sample(prompts, 2)

        @hookimpl
        def advantage(self, batch):
            return batch.truncated * 0.0 - batch.old_logprobs.sum(-1)

    result = found(Talks, "better_ones")
    assert result.status is Status.NOT_APPLICABLE
    assert "nothing says" in result.detail
