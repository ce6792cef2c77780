"""What is right in an unusual way is no finding: short plugins of papers that are not built in."""

import pytest
import torch
from torch.nn.functional import logsigmoid

import anypo.functional as F
from anypo import Plugin, compose, hookimpl
from anypo.errors import PluginError
from anypo.testing import Status, check_plugin
from anypo_plugins.policy_gradient.grpo import GRPO
from anypo_plugins.policy_gradient.gspo import GSPO
from anypo_plugins.policy_gradient.ppo import PPO
from anypo_plugins.policy_gradient.rloo import RLOO
from anypo_plugins.preference.dpo import DPO
from anypo_plugins.preference.pairwise import Pairwise
from anypo_plugins.supervised.sft import SFT


class OPO(Plugin):
    """The baseline weighs rewards by length; arXiv:2505.23585."""

    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        lengths = batch.lengths.to(batch.rewards.dtype)
        total = F.group_sum(lengths * batch.rewards, batch.group)
        return batch.rewards - total / F.group_sum(lengths, batch.group).clamp(min=1)


class PassK(Plugin):
    """Only the best of a group learns; arXiv:2503.19595."""

    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        best = F.group_top_k(batch.rewards, batch.group, 1)
        others = batch.rewards.masked_fill(best, -torch.inf)
        second = F.group_max(others, batch.group)
        lead = torch.where(second.isfinite(), batch.rewards - second, 0)
        return torch.where(best, lead, 0)


class MaxRL(Plugin):
    """The mean reward divides, not the deviation; 2026."""

    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        mean = F.group_mean(batch.rewards, batch.group)
        return torch.where(mean > 1e-3, (batch.rewards - mean) / mean.clamp(min=1e-3), 0)


class LitePPO(Plugin):
    """The deviation of the batch divides; arXiv:2508.08221."""

    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        return F.group_standardize(batch.rewards, batch.group, scale="batch")

    @hookimpl
    def weight(self, batch):
        return F.token_mean(batch.mask)


class Kimi(Plugin):
    """A regression of the log-ratio on the advantage; arXiv:2501.12599."""

    extends = (RLOO,)
    claims = ("own_gradient",)

    tau: float = 0.1

    @hookimpl
    def clip(self, log_ratio, advantages):
        return -(advantages - self.tau * log_ratio).square()


class TOPR(Plugin):
    """Good completions are imitated as they are; arXiv:2503.14286."""

    extends = (RLOO,)
    claims = ("stop_gradient", "own_gradient")

    @hookimpl
    def clip(self, log_ratio, advantages, logprobs):
        bounded = F.exp_ratio(log_ratio.detach()).clamp(max=1.0)
        scale = torch.where(advantages > 0, 1.0, bounded)
        return scale * advantages * logprobs.sum(-1, keepdim=True)


class WREINFORCE(Plugin):
    """Right answers get a tenth of the reinforcement; arXiv:2506.01347."""

    extends = (PPO,)

    kl_coef: float = 0.0
    value_coef: float = 0.0

    @hookimpl
    def advantage(self, batch):
        return {
            "advantages": torch.where(batch.rewards > 0, 0.1, -1.0).to(batch.rewards.dtype),
            "returns": batch.values,
        }


class Intellect2(Plugin):
    """A bound on both sides; arXiv:2505.07291."""

    extends = (GRPO,)

    delta: float = 4.0

    @hookimpl
    def clip(self, log_ratio, advantages):
        ratio = F.exp_ratio(log_ratio)
        clipped = ratio.clamp(1 - self.clip_low, 1 + self.clip_high)
        return torch.minimum(ratio.clamp(max=self.delta) * advantages, clipped * advantages)


class GMPO(Plugin):
    """One gain per row under ratios per token; arXiv:2507.20673."""

    extends = (GRPO,)

    clip_low: float = 0.4
    clip_high: float = 0.4

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        side = F.first_token(advantages, batch.mask).sign()
        bounded = log_ratio.clamp(-self.clip_low, self.clip_high)
        mean = F.row_mean(torch.minimum(side * log_ratio, side * bounded), batch.mask)
        return (side * mean).exp() * F.first_token(advantages, batch.mask)


class LUSPO(Plugin):
    """Completions count by their length; arXiv:2602.05261."""

    extends = (GSPO,)
    claims = ("by_length",)

    @hookimpl
    def weight(self, batch):
        return F.per_completion_sum(batch.mask)


class InfoNCA(Plugin):
    """A softmax of implicit rewards becomes one of given rewards; arXiv:2402.05369."""

    extends = (GRPO,)
    couples = "group"

    kl_coef: float = 0.0
    group_size: int = 4
    beta: float = 0.01

    @hookimpl
    def advantage(self, batch):
        return F.group_softmax(batch.rewards, batch.group)

    @hookimpl
    def ratio(self, logprobs, batch):
        return F.sequence_log_ratio(logprobs, batch.ref_logprobs, batch.mask, reduce="sum")

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        share = F.group_softmax((self.beta * log_ratio).squeeze(-1), batch.group).unsqueeze(-1)
        return self.group_size * advantages * share.log()

    @hookimpl
    def weight(self, batch):
        return F.group_completion_mean(batch.mask, batch.group)


class NCA(Plugin):
    """A term for each row of a pair; arXiv:2402.05369."""

    extends = (DPO,)

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        own = self.beta * log_ratio
        chosen = torch.where(advantages > 0, logsigmoid(own), 0)
        return F.pair_sum(chosen + logsigmoid(-own) / 2, batch.group)


class Hinge(Plugin):
    """arXiv:2305.10425."""

    extends = (DPO,)

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        return -(1 - self.beta * F.margin(log_ratio, advantages, batch.group)).clamp(min=0)


class RFT(Plugin):
    """SFT on what is good enough of its own; arXiv:2501.12948."""

    extends = (SFT,)

    threshold: float = 1.0

    @hookimpl
    def rollout(self, prompts, sampler, scorer):
        samples = scorer(prompts, sampler.sample(prompts, 4))
        return [sample for sample in samples if sample.reward >= self.threshold]


class AOT(Plugin):
    """Chosen and rejected margins are sorted, and paired anew; arXiv:2406.05882."""

    extends = (Pairwise,)

    beta: float = 0.1

    @hookimpl
    def advantage(self, batch):
        margins = F.sequence_log_ratio(batch.old_logprobs, batch.ref_logprobs, batch.mask)
        group = torch.zeros_like(batch.group)
        for side in (1.0, -1.0):
            rows = (batch["preference"] == side).nonzero().squeeze(-1)
            group[rows[margins.squeeze(-1)[rows].argsort()]] = torch.arange(len(rows))
        return {"advantages": batch["preference"], "group": group}

    @hookimpl
    def ratio(self, logprobs, batch):
        return F.sequence_log_ratio(logprobs, batch.ref_logprobs, batch.mask)

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        return logsigmoid(self.beta * F.margin(log_ratio, advantages, batch.group))


class SomeTokens(Plugin):
    """Half of the tokens are learnt, drawn anew in every step from a seed in `state`."""

    extends = (GRPO,)
    claims = ("random_choice", "own_gradient")

    kl_coef: float = 0.0

    @hookimpl(wrapper=True)
    def advantage(self, batch, state):
        advantages, others = F.split_advantages((yield), batch.mask)
        state["some_tokens"] = state.get("some_tokens", 0) + 1
        seeded = torch.Generator().manual_seed(state["some_tokens"])
        kept = torch.rand(batch.mask.shape, generator=seeded) < 0.5
        return {**others, "advantages": kept.to(advantages.device) * advantages}


PLUGINS = [
    *(OPO, PassK, MaxRL, LitePPO, Kimi, TOPR, WREINFORCE, Intellect2, GMPO, LUSPO, InfoNCA, NCA),
    *(Hinge, RFT, AOT, SomeTokens),
]


@pytest.mark.parametrize("plugin", PLUGINS)
def test_no_property_fails(plugin):
    check_plugin(plugin).raise_if_failed()


def test_rows_that_tie_are_told_apart_by_their_place_alone():
    class FirstTokensOfTies(Plugin):
        extends = (GRPO,)

        @hookimpl
        def advantage(self, batch):
            briefest = torch.zeros_like(batch.rewards)
            for group in batch.group.unique():
                rows = (batch.group == group).nonzero().squeeze(-1)
                briefest[rows[batch.lengths[rows].argsort(stable=True)[:1]]] = 1.0
            return briefest

    detail = check_plugin(FirstTokensOfTies)["row_order"].detail
    assert "among equals the first is taken" in detail
    assert "group_top_k" in detail


def test_one_gain_per_row_does_not_count_by_length_unless_that_is_meant():
    with pytest.raises(PluginError, match=r"'clip' of plugin 'gmpo' gives one gain per sequence"):
        compose(GMPO, weight="dapo")

    class Meant(Plugin):
        extends = (GMPO,)
        claims = ("by_length",)

        @hookimpl
        def weight(self, batch):
            return F.token_mean(batch.mask)

    assert compose(Meant).name == "meant"
    unclaimed = type("Unclaimed", (LUSPO,), {"claims": ()})
    with pytest.raises(PluginError, match=r"one ratio per sequence.*claims = \('by_length',\)"):
        compose(unclaimed)


def test_what_is_drawn_at_random_is_not_held_to_an_order():
    report = check_plugin(SomeTokens)
    for name in ("row_order", "padding_width", "rank_split", "denominators"):
        assert report[name].status is Status.NOT_APPLICABLE
    assert not check_plugin(SomeTokens, claims=("own_gradient",)).ok
