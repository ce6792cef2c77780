"""Each deliberately wrong plugin is caught by the property it breaks, in words that say why."""

import pytest
import torch

import anypo.functional as F
from anypo import Plugin, hookimpl, sample_groups
from anypo.testing import Status, check_plugin
from anypo.testing.check import examine, make_subject
from anypo_plugins.policy_gradient.grpo import GRPO
from anypo_plugins.preference.dpo import DPO

MEMORY = {"rollouts": 0, "batches": 0}


class PaddedMean(Plugin):
    extends = (GRPO,)

    @hookimpl
    def weight(self, batch):
        return batch.mask.double() / batch.mask.numel()


class PaddedValues(Plugin):
    """A mean over the padded width in the advantage, not in the weights."""

    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        return batch.rewards - batch.old_logprobs.mean(-1)


class MicroBatchStatistics(Plugin):
    extends = (GRPO,)

    @hookimpl
    def clip(self, log_ratio, advantages):
        return F.exp_ratio(log_ratio) * (advantages - advantages.mean())


class MicroBatchPenalty(Plugin):
    @hookimpl
    def regularizer(self, logprobs):
        return {"drift": (logprobs - logprobs.mean()).square()}


class UncoupledPairs(Plugin):
    """Compares rows of a group without saying that they belong together."""

    extends = (GRPO,)

    @hookimpl
    def regularizer(self, logprobs, batch):
        return {"pairs": F.group_mean(logprobs.sum(-1), batch.group).square().unsqueeze(-1)}


class DetachedRatio(Plugin):
    extends = (GRPO,)

    @hookimpl
    def ratio(self, logprobs, batch):
        return (logprobs - batch.old_logprobs).detach()


class HalfDetachedRatio(Plugin):
    """Only the last token of a row carries gradient."""

    extends = (GRPO,)

    @hookimpl
    def ratio(self, logprobs, batch):
        last = F.at_last_token(torch.ones(len(batch), dtype=logprobs.dtype), batch.mask)
        return torch.where(last > 0, logprobs, logprobs.detach()) - batch.old_logprobs


class DetachedGain(Plugin):
    """CISPO's gain, without saying that its stop-gradient is meant."""

    extends = (GRPO,)

    @hookimpl
    def clip(self, log_ratio, advantages, logprobs):
        return F.exp_ratio(log_ratio.detach()) * advantages * logprobs


class DetachedStatistic(Plugin):
    """A statistic of distributions that is learnt in part only."""

    extends = (GRPO,)

    @hookimpl
    def distribution(self, log_distribution):
        return {"certainty": log_distribution.exp().square().sum(-1)}

    @hookimpl
    def regularizer(self, token_statistics):
        certainty = token_statistics["certainty"]
        return {"certainty": certainty * certainty.detach()}


class NumberOutOfTheGraph(Plugin):
    @hookimpl
    def regularizer(self, logprobs, batch):
        rows = [logprobs[i] * float(logprobs[i].sum()) for i in range(len(batch))]
        return {"square": torch.stack(rows)}


class WrongBackward(Plugin):
    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x.square()

        @staticmethod
        def backward(ctx, gradient):
            return gradient * ctx.saved_tensors[0]  # the 2 is missing

    @hookimpl
    def regularizer(self, logprobs):
        return {"square": self.Square.apply(logprobs)}


class EditsTheRewards(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        batch.rewards.sub_(F.group_mean(batch.rewards, batch.group))
        return batch.rewards


class EditsTheLogProbs(Plugin):
    extends = (GRPO,)

    @hookimpl
    def ratio(self, logprobs, batch):
        logprobs -= batch.old_logprobs
        return logprobs


class KeepsTheGraph(Plugin):
    extends = (GRPO,)

    @hookimpl
    def ratio(self, logprobs, batch):
        batch.tensors["log_ratio"] = logprobs - batch.old_logprobs
        return batch["log_ratio"]


class MisspeltHook:
    @hookimpl
    def advantge(self, batch):
        return batch.rewards


class UnmarkedMisspeltHook(Plugin):
    extends = (GRPO,)

    def _weight(self, batch):
        return batch.mask

    def advantages(self, batch):
        return batch.rewards


class Overridden:
    @hookimpl
    def weight(self, batch):
        return F.token_mean(batch.mask)


class UnmarkedOverride(Overridden):
    def weight(self, batch):
        return F.per_completion_mean(batch.mask)


class UnknownArgument(Plugin):
    extends = (GRPO,)

    @hookimpl
    def clip(self, log_ratio, advantage):
        return log_ratio * advantage


class OutOfOrder:
    @hookimpl(tryfirst=True)
    def weight(self, batch):
        return F.token_mean(batch.mask)


class UnknownClaim(Plugin):
    extends = (GRPO,)
    claims = ("reward_shfit",)

    @hookimpl
    def weight(self, batch):
        return F.token_mean(batch.mask)


class WrongShape(Plugin):
    extends = (GRPO,)

    @hookimpl
    def weight(self, batch):
        return 1 / batch.lengths.clamp(min=1)


class AdjacentGroups(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        grouped = batch.rewards.view(-1, self.extends[0]().group_size)
        return (grouped - grouped.mean(-1, keepdim=True)).flatten()


class FirstRowIsTheBaseline(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        first = torch.stack([batch.rewards[batch.group == g][0] for g in batch.group])
        return batch.rewards - first


class WholeNumbers(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        return (batch.rewards > 0).long()


class ReadsPadding(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        return batch.rewards - 0.01 * batch.input_ids.sum(-1)


class GroupAsValue(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        return batch.rewards - 0.1 * batch.group


class GroupAsIndex(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        sums = torch.zeros_like(batch.rewards).index_add(0, batch.group, batch.rewards)
        return batch.rewards - sums[batch.group]


class Random(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        return batch.rewards + torch.randn(len(batch))


class RandomRollout(Plugin):
    @hookimpl(wrapper=True)
    def rollout(self):
        samples = yield
        return [samples[i] for i in torch.randperm(len(samples))]


class RemembersByItself(Plugin):
    extends = (GRPO,)

    @hookimpl(wrapper=True)
    def rollout(self):
        MEMORY["rollouts"] += 1
        return (yield)

    @hookimpl
    def advantage(self, batch):
        return batch.rewards / MEMORY["rollouts"]


class RemembersBatches(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        MEMORY["batches"] += 1
        return batch.rewards / MEMORY["batches"]


class UnsavableState(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch, state):
        state["baseline"] = lambda rewards: rewards.mean()
        return batch.rewards - state["baseline"](batch.rewards)


class ObjectInState(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch, state):
        state["plugin"] = GRPO()
        return batch.rewards


class NoLogOfZero(Plugin):
    """log(1 - p), safe in float32 alone."""

    @hookimpl
    def regularizer(self, logprobs):
        return {"unlikelihood": -torch.log1p(-logprobs.clamp(max=-1e-6).exp())}


class Overflows(Plugin):
    extends = (GRPO,)

    @hookimpl
    def clip(self, log_ratio, advantages):
        ratio = log_ratio.exp().square()
        return ratio * advantages


class DeviationOfOne(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        advantages = torch.zeros_like(batch.rewards)
        for group in batch.group.unique():
            rewards = batch.rewards[batch.group == group]
            advantages[batch.group == group] = (rewards - rewards.mean()) / (rewards.std() + 1e-6)
        return advantages


class DividesByRounding(Plugin):
    """The usual epsilon, too small for float32."""

    extends = (GRPO,)
    claims = ("reward_shift",)

    @hookimpl
    def advantage(self, batch):
        mean = F.group_mean(batch.rewards, batch.group)
        spread = F.group_mean((batch.rewards - mean).square(), batch.group).sqrt()
        return (batch.rewards - mean) / (spread + 1e-9)


class MeanOfNothing(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        return batch.rewards - (batch.old_logprobs.sum(-1) / batch.lengths).mean()


class OnlyFinished(Plugin):
    extends = (GRPO,)

    @hookimpl
    def weight(self, batch):
        kept = batch.mask & ~batch.truncated.unsqueeze(-1)
        return kept / kept.sum()


class DeviationOfTokens(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        deviation = batch.old_logprobs.square().sum(-1) / (batch.lengths - 1).abs()
        return torch.where(batch.lengths > 0, batch.rewards - deviation, 0)


class SumOfScores(Plugin):
    extends = (GRPO,)

    @hookimpl
    def advantage(self, batch):
        return sum(batch.scores.values())


class FalseShiftClaim(Plugin):
    extends = (GRPO,)
    claims = ("reward_shift",)

    @hookimpl
    def advantage(self, batch):
        return batch.rewards


class FalseScaleClaim(Plugin):
    extends = (GRPO,)
    claims = ("reward_scale",)

    @hookimpl
    def advantage(self, batch):
        return batch.rewards - F.group_mean(batch.rewards, batch.group)


class WrongSign(Plugin):
    extends = (GRPO,)

    @hookimpl
    def clip(self, log_ratio, advantages):
        return F.exp_ratio(log_ratio) * advantages.abs()


class HalfPrecision(Plugin):
    extends = (GRPO,)

    @hookimpl
    def clip(self, log_ratio, advantages):
        return (F.exp_ratio(log_ratio) * advantages).bfloat16()


class WrongGroup(Plugin):
    extends = (GRPO,)

    @hookimpl
    def rollout(self, prompts, sampler, scorer):
        samples = sample_groups(prompts, sampler, scorer, 2)
        return [type(s)(**{**vars(s), "group": s.group + 1}) for s in samples]


class UnequalColumns(Plugin):
    @hookimpl(wrapper=True)
    def rollout(self):
        first, *others = yield
        return [first, *(type(s)(**{**vars(s), "columns": {}}) for s in others)]


CAUGHT = [
    (PaddedMean, "padding_width", ["'weight' of plugin 'padded_mean'", "mean over the padded"]),
    (PaddedMean, "rank_split", ["'weight' of plugin 'padded_mean'", "padding_width"]),
    (PaddedValues, "padding_width", ["'advantage' of plugin 'padded_values'"]),
    (MicroBatchStatistics, "micro_batch_split", ["'clip' of plugin", "micro-batch", "on 2 rows"]),
    (MicroBatchPenalty, "micro_batch_split", ["'regularizer' of plugin", "the loss term 'drift'"]),
    (UncoupledPairs, "micro_batch_split", ["couples = 'group'", "on 2 rows"]),
    (DetachedRatio, "composition", ["'ratio' of plugin 'detached_ratio'", "is it detached"]),
    (HalfDetachedRatio, "nothing_detached", ["'ratio' of plugin", "but its gradient there is"]),
    (HalfDetachedRatio, "policy_gradient", ["the gradient is 0", "the ratio is detached"]),
    (DetachedGain, "nothing_detached", ["'clip' of plugin", ".detach()", "'stop_gradient'"]),
    (DetachedStatistic, "nothing_detached", ["'regularizer' of plugin", "certainty"]),
    (NumberOutOfTheGraph, "finite_differences", ["changes by", "float(x)", "on 1 row"]),
    (WrongBackward, "finite_differences", ["wrong backward"]),
    (EditsTheRewards, "batch_untouched", ["'advantage' of plugin", "batch.rewards in place"]),
    (EditsTheLogProbs, "batch_untouched", ["'ratio' of plugin", "changes logprobs in place"]),
    (KeepsTheGraph, "no_leak", ["puts a tensor into the batch: batch.log_ratio", "gradient"]),
    (MisspeltHook, "hooks_and_signatures", ["MisspeltHook.advantge", "did you mean 'advantage'"]),
    (UnmarkedMisspeltHook, "hooks_and_signatures", ["advantages is never called", "@hookimpl"]),
    (UnmarkedOverride, "hooks_and_signatures", ["UnmarkedOverride.weight", "lacks @hookimpl"]),
    (UnknownArgument, "hooks_and_signatures", ["'unknown_argument'", "advantage"]),
    (OutOfOrder, "hooks_and_signatures", ["tryfirst"]),
    (UnknownClaim, "hooks_and_signatures", ["'reward_shfit'", "did you mean 'reward_shift'"]),
    (WrongShape, "composition", ["'weight' of plugin 'wrong_shape'", "expected shape"]),
    (AdjacentGroups, "shapes_and_dtypes", ["'advantage' of plugin", "in groups of"]),
    (FirstRowIsTheBaseline, "row_order", ["'advantage' of plugin", "adjacent", "on 2 rows"]),
    (WholeNumbers, "shapes_and_dtypes", ["torch.int64"]),
    (ReadsPadding, "padding_content", ["'advantage' of plugin", "input_ids", "on 1 row"]),
    (GroupAsValue, "group_numbering", ["'advantage' of plugin", "used as a value", "on 1 row"]),
    (GroupAsIndex, "group_numbering", ["IndexError", "group_index"]),
    (Random, "determinism", ["'advantage' of plugin 'random'", "random numbers"]),
    (RandomRollout, "determinism", ["'rollout' of plugin 'random_rollout'", "other samples"]),
    (RemembersByItself, "state_survives", ["'advantage' of plugin", "keep it in `state`"]),
    (RemembersBatches, "determinism", ["remembered outside of `state`"]),
    (UnsavableState, "state_survives", ["cannot be saved", "baseline"]),
    (ObjectInState, "state_survives", ["cannot be saved and loaded", "a GRPO in state['plugin']"]),
    (NoLogOfZero, "finite_bfloat16", ["the loss term 'unlikelihood' is inf", "on 1 row"]),
    (Overflows, "finite_float32", ["'clip' of plugin 'overflows'", "exp_ratio clamps"]),
    (DeviationOfOne, "group_of_one", ["'advantage' of plugin", "nan", "group_standardize"]),
    (DividesByRounding, "equal_rewards", ["'advantage' of plugin", "rounding errors"]),
    (MeanOfNothing, "empty_rows", ["'advantage' of plugin", "0 tokens", ".clamp(min=1)"]),
    (OnlyFinished, "truncated_rows", ["'weight' of plugin", "truncated"]),
    (DeviationOfTokens, "one_token_rows", ["'advantage' of plugin", "1 token"]),
    (SumOfScores, "missing_scores", ["'advantage' of plugin", "nan", "batch.scores"]),
    (FalseShiftClaim, "reward_shift", ["'advantage' of plugin", "drop the claim", "on 1 row"]),
    (FalseScaleClaim, "reward_scale", ["'advantage' of plugin", "instead of", "on 2 rows"]),
    (WrongSign, "policy_gradient", ["-weight * advantage is", "lose their sign", "on 2 rows"]),
    (HalfPrecision, "shapes_and_dtypes", ["torch.bfloat16"]),
    (WrongGroup, "rollout", ["has group 2", "position of its prompt"]),
    (UnequalColumns, "composition", ["only some samples", "step_rewards"]),
]


@pytest.fixture(scope="module")
def subjects():
    """The plugins with the batches they are tried on, made once."""
    return {}


@pytest.mark.parametrize(
    ("plugin", "name", "words"), CAUGHT, ids=[f"{p.__name__}-{n}" for p, n, _ in CAUGHT]
)
def test_a_wrong_plugin_is_caught_by_the_property_that_it_breaks(subjects, plugin, name, words):
    if plugin not in subjects:
        subjects[plugin] = make_subject(plugin, on=(), knobs=None, claims=None)
    result = examine(name, subjects[plugin])
    assert result.status is Status.FAILED
    assert not [word for word in words if word not in result.detail], result.detail


BROKEN = {  # what may fail beside the property in question, and nothing else
    PaddedMean: {"padding_width", "rank_split"},
    MicroBatchStatistics: {"padding_width", "micro_batch_split", "rank_split", "policy_gradient"},
    DetachedGain: {"nothing_detached"},
    EditsTheRewards: {"batch_untouched"},
    ReadsPadding: {"padding_content"},
    GroupAsValue: {"group_numbering"},
    Random: {"determinism"},
    DeviationOfOne: {"group_of_one", "equal_rewards"},
    DividesByRounding: {"equal_rewards"},
    NoLogOfZero: {"finite_bfloat16"},
    SumOfScores: {"missing_scores"},
    FalseShiftClaim: {"reward_shift"},
    DPO: set(),
}


@pytest.mark.parametrize("plugin", BROKEN, ids=[plugin.__name__ for plugin in BROKEN])
def test_nothing_else_is_found_wrong_with_it(plugin):
    assert {failure.name for failure in check_plugin(plugin).failures} == BROKEN[plugin]
