"""Modifiers are tried on bases that differ in what a modifier gets."""

import pytest
import torch

import anypo.functional as F
from anypo import AnypoError, Plugin, hookimpl
from anypo.testing import Status, check_plugin
from anypo.testing.neutral import OTHER_BASES, NeutralBase


class Focal(Plugin):
    """Advantages of a group count less the more of it succeeds."""

    gamma: float = 0.5

    @hookimpl(wrapper=True)
    def advantage(self, batch):
        advantages, others = F.split_advantages((yield), batch.mask)
        failing = (1 - F.group_mean(batch.rewards, batch.group).clamp(0, 1)) ** self.gamma
        return {**others, "advantages": F.to_tokens(failing, batch.mask) * advantages}


class RowsOnly(Plugin):
    @hookimpl(wrapper=True)
    def advantage(self, batch):
        return (1 + batch.rewards.abs()) * (yield)


class LosesColumns(Plugin):
    @hookimpl(wrapper=True)
    def advantage(self, batch):
        return F.split_advantages((yield), batch.mask)[0]


class RatiosOnly(Plugin):
    @hookimpl(wrapper=True)
    def clip(self, log_ratio, batch):
        gain = yield
        return (
            gain
            * batch.mask.cumsum(-1)[:, : log_ratio.shape[1]].to(gain.dtype)
            * torch.stack([log_ratio.detach()[:, t] for t in range(batch.mask.shape[1])], -1)
            .square()
            .clamp(max=1.0)
        )


class Replaces(Plugin):
    """What answers by itself need not cope with what it replaces."""

    @hookimpl
    def advantage(self, batch):
        return F.group_standardize(batch.rewards, batch.group)


class Refuses(Plugin):
    """What a plugin refuses in words of its own is no fault of it."""

    @hookimpl(wrapper=True)
    def clip(self, log_ratio, batch):
        if log_ratio.shape != batch.mask.shape:
            raise AnypoError("refuses wants a ratio per token")
        return (yield)


@pytest.mark.parametrize("plugin", [Focal, Replaces, Refuses])
def test_what_copes_or_says_so_passes(plugin):
    assert check_plugin(plugin)["other_bases"].status is Status.PASSED


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        (RowsOnly, ["on a base with an advantage per token", "'rows_only'", "split_advantages"]),
        (LosesColumns, ["returns a dict", "the batch holds no 'baseline'"]),
        (RatiosOnly, ["one ratio per sequence", "'ratios_only' failed: IndexError"]),
    ],
)
def test_a_shape_that_is_taken_for_granted_is_caught(plugin, words):
    detail = check_plugin(plugin)["other_bases"].detail
    assert not [word for word in words if word not in detail], detail


def test_a_whole_algorithm_and_a_chosen_base_are_left_as_they_are():
    assert check_plugin("grpo")["other_bases"].status is Status.NOT_APPLICABLE
    assert check_plugin(RowsOnly, on="grpo")["other_bases"].status is Status.NOT_APPLICABLE


@pytest.mark.parametrize("base", [NeutralBase, *OTHER_BASES])
def test_the_bases_conform(base):
    check_plugin(base).raise_if_failed()
