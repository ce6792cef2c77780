"""A plugin reads the knobs of the stack below it, and may loosen a bound of its own ones."""

from types import SimpleNamespace
from typing import ClassVar

import pytest
from pydantic import Field, field_validator, model_validator

import anypo.functional as F
from anypo import Plugin, compose, hookimpl
from anypo.errors import KnobError, PluginError
from anypo.testing import check_plugin
from anypo_plugins.policy_gradient.dapo import DAPO
from anypo_plugins.policy_gradient.grpo import GRPO
from anypo_plugins.preference.dpo import DPO


class Softer(Plugin):
    """DPO whose margin is squeezed by its own strength."""

    extends: ClassVar = (DPO,)

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """tanh(beta * margin)."""
        margin = F.margin(log_ratio, advantages, batch.group)
        return (self.beta * margin).tanh() / 2


class Halved(Plugin):
    """GRPO clipped at half the range."""

    extends: ClassVar = (GRPO,)

    @hookimpl
    def clip(self, log_ratio, advantages):
        """min(r A, clip(r) A)."""
        return F.clipped_surrogate(log_ratio, advantages, self.clip_low / 2, self.clip_high / 2)


def built(algorithm, label):
    return algorithm.manager.get_plugin(label)


def test_a_knob_of_the_stack_below_is_an_attribute():
    algorithm = compose(Softer, knobs={"beta": 0.3})
    assert built(algorithm, "softer").beta == 0.3
    assert built(compose(Softer), "softer").beta == DPO().beta


def test_a_knob_read_from_below_counts_as_read():
    algorithm = compose(Halved, knobs={"clip_low": 0.1})  # GRPO's own clip, which reads it, is out
    assert {"clip_low", "clip_high"} <= algorithm.active_knobs
    assert {"clip_low", "clip_high"} <= algorithm.explain().active_knobs


def test_what_a_knob_from_below_switches_on_is_required():
    class Paying(Plugin):
        extends: ClassVar = (GRPO,)

        @hookimpl
        def regularizer(self, logprobs, batch):
            return (
                {"kl": self.kl_coef * F.k1(logprobs, batch.ref_logprobs)} if self.kl_coef else None
            )

    assert "reference" in compose(Paying).requires
    assert "reference" not in compose(Paying, DAPO).requires


def test_it_has_the_value_of_the_whole_stack_whoever_gave_it():
    assert built(compose(DAPO(clip_high=0.4), Halved), "halved").clip_high == 0.4
    assert built(compose(Halved, DAPO), "halved").clip_high == DAPO().clip_high
    assert built(compose(GRPO(clip_high=0.4), Halved()), "halved").clip_high == 0.4


class Strong(Plugin):
    """Has a knob of its own."""

    strength: float = 2.0

    @hookimpl(wrapper=True)
    def clip(self):
        """strength * gain."""
        gain = yield
        return self.strength * gain


class Reader(Plugin):
    """Reads a knob that it does not declare."""

    @hookimpl(wrapper=True)
    def clip(self):
        """strength * gain."""
        gain = yield
        return self.strength * gain


@pytest.mark.parametrize("stack", [("grpo", Reader, Strong), ("grpo", Reader)])
def test_a_knob_of_a_plugin_above_or_of_none_is_a_clear_error(stack):
    with pytest.raises(PluginError, match=r"'clip' of plugin 'reader' .*'strength'.* below"):
        compose(*stack)
    assert built(compose("grpo", Strong, Reader), "reader").strength == 2.0


def test_a_misspelt_knob_from_below_suggests_the_nearest():
    class Misspelt(Plugin):
        @hookimpl(wrapper=True)
        def clip(self):
            gain = yield
            return self.clip_hihg * gain

    with pytest.raises(PluginError, match=r"'clip_hihg'.*did you mean 'clip_high'") as caught:
        compose("grpo", Misspelt)
    assert "\n" not in str(caught.value)


def test_what_a_plugin_has_itself_is_not_read_from_below():
    class Own(Plugin):
        clip_low: ClassVar = "mine"
        seen: ClassVar = []

        def group_size(self):
            return "mine too"

        @property
        def kl_estimator(self):
            return self.nothing_of_the_kind

        @hookimpl(wrapper=True)
        def clip(self):
            self.seen[:] = [self.clip_low, self.group_size()]
            return (yield)

    own = built(compose("grpo", Own), "own")
    assert own.seen == ["mine", "mine too"]
    with pytest.raises(AttributeError, match="nothing_of_the_kind"):
        _ = own.kl_estimator


def test_a_plugin_that_is_no_model_may_stand_anywhere_but_reads_no_knobs():
    class Plain:
        @hookimpl(wrapper=True)
        def clip(self):
            gain = yield
            return self.clip_low * gain

    module = SimpleNamespace(weight=hookimpl(lambda batch: F.token_mean(batch.mask)))
    assert built(compose("grpo", module, Halved), "halved").clip_low == GRPO().clip_low
    with pytest.raises(PluginError, match=r"'clip' of plugin 'plain' failed: .*'clip_low'"):
        compose("grpo", Plain)


SWAPPED = """
from anypo import Plugin, hookimpl
import anypo.functional as F
class Halved(Plugin):
    extends = ("grpo",)
    @hookimpl
    def clip(self, log_ratio, advantages):
        return F.clipped_surrogate(log_ratio, advantages, self.clip_low / 2, self.clip_low / 2)
"""


def test_a_stage_that_is_taken_from_a_plugin_reads_the_knobs_of_the_stack(install):
    install("halves", {"halved": "halves:Halved"}, {"halves.py": SWAPPED})
    algorithm = compose("grpo", clip="halved", knobs={"clip_low": 0.1})
    assert "clip_low" in algorithm.active_knobs
    with pytest.raises(PluginError, match=r"'clip' of plugin 'halved.clip' .*'clip_low'"):
        compose("dpo", clip="halved")


def test_a_validator_may_look_at_a_knob_from_below():
    class Kept(Plugin):
        extends: ClassVar = (GRPO,)
        keep: int = 4

        @model_validator(mode="after")
        def _fits(self):
            if self.keep >= self.group_size:
                raise ValueError("keep fewer than there are")
            return self

        @hookimpl(wrapper=True)
        def weight(self):
            weight = yield
            return self.keep * weight

    assert compose(Kept).knobs["keep"].value == 4
    with pytest.raises(KnobError, match=r"kept: .* keep fewer than there are"):
        compose(Kept, knobs={"group_size": 4})


def test_the_conformance_kit_knows_knobs_from_below():
    report = check_plugin(Halved)
    assert report.ok, report


# -- bounds --------------------------------------------------------------------------------------


class Loose(Plugin):
    """Groups may have one member."""

    extends: ClassVar = (GRPO,)
    group_size: int = Field(4, ge=1)

    @hookimpl
    def advantage(self, batch):
        """r."""
        return batch.rewards


class LooserStill(Plugin):
    """Another default, and no word of bounds."""

    extends: ClassVar = (Loose,)
    group_size: int = 1


def test_the_topmost_bound_of_a_knob_is_the_one_that_holds():
    assert compose(Loose, knobs={"group_size": 1}).knobs["group_size"].value == 1
    assert compose(LooserStill).knobs["group_size"].value == 1
    assert compose(Loose(group_size=1)).knobs["group_size"].value == 1
    with pytest.raises(KnobError, match=r"loose: group_size = 0 is refused: .* 1"):
        compose(Loose, knobs={"group_size": 0})


def test_a_declaration_without_a_bound_keeps_the_one_below():
    with pytest.raises(KnobError, match=r"loose: group_size = 0 is refused: .* 1"):
        compose(LooserStill, knobs={"group_size": 0})
    with pytest.raises(KnobError, match=r"grpo: group_size = 1 is refused: .* 2"):
        compose("gfpo", knobs={"group_size": 1, "keep": 2})


def test_a_bound_may_be_tightened():
    class Tight(Plugin):
        extends: ClassVar = (GRPO,)
        group_size: int = Field(8, ge=4)

    with pytest.raises(KnobError, match=r"tight: group_size = 3 is refused: .* 4"):
        compose(Tight, knobs={"group_size": 3})


def test_a_check_that_a_plugin_makes_itself_holds_whoever_redeclares_the_knob():
    class Even(Plugin):
        extends: ClassVar = (GRPO,)
        group_size: int = Field(4, ge=2)

        @field_validator("group_size")
        @classmethod
        def _is_even(cls, value):
            if value % 2:
                raise ValueError("pairs are needed")
            return value

    with pytest.raises(KnobError, match=r"even: group_size = 1 is refused: .*pairs are needed"):
        compose(Even, Loose, knobs={"group_size": 1})
    assert compose(Even, Loose, knobs={"group_size": 6}).knobs["group_size"].value == 6


def test_a_check_of_two_knobs_holds_where_one_of_them_is_redeclared():
    with pytest.raises(KnobError, match=r"gfpo: .*keep"):
        compose("gfpo", Loose, knobs={"group_size": 1})


def test_a_plugin_by_itself_keeps_its_own_bound():
    compose(Loose, knobs={"group_size": 1})
    with pytest.raises(ValueError, match="group_size"):
        GRPO(group_size=1)
