"""`compose` makes one whole algorithm, and nothing that was set is ignored."""

from types import SimpleNamespace
from typing import ClassVar

import pytest

import anypo.functional as F
from anypo import Algorithm, Plugin, compose, hookimpl
from anypo.composition.compose import suited_to
from anypo.errors import KnobError, PluginError
from anypo.hooks.task import ChosenTask
from anypo_plugins.policy_gradient.grpo import GRPO


class TokenMean(Plugin):
    """Every token counts the same."""

    @hookimpl
    def weight(self, batch):
        return F.token_mean(batch.mask)


class Unclipped(Plugin):
    """The gain without a clip."""

    @hookimpl
    def clip(self, log_ratio, advantages):
        return F.exp_ratio(log_ratio) * advantages


class Wider(Plugin):
    """GRPO with another clip range, no KL penalty and weights of its own."""

    extends = (GRPO,)
    clip_high: float = 0.28
    kl_coef: float = 0.0

    @hookimpl
    def weight(self, batch):
        return F.token_mean(batch.mask)


class Scaled:
    """A plain class."""

    def __init__(self, factor=2.0):
        self.factor = factor

    @hookimpl(wrapper=True)
    def clip(self):
        gain = yield
        return self.factor * gain


@pytest.mark.parametrize("plugin", ["grpo", GRPO, GRPO()], ids=["name", "class", "instance"])
def test_a_name_a_class_and_an_instance_make_the_same_algorithm(plugin):
    algorithm = compose(plugin)
    assert isinstance(algorithm, Algorithm)
    assert algorithm.knobs == compose("grpo").knobs
    assert [layer.name for layer in algorithm.layers] == ["grpo"]


@pytest.mark.parametrize("plugin", [Scaled, Scaled(3.0)], ids=["class", "instance"])
def test_a_plain_class_is_a_plugin(plugin):
    answers = compose("grpo", plugin).answers("clip")
    assert [impl.plugin_name for impl in answers] == ["scaled", "grpo"]


def test_a_plain_object_keeps_its_state():
    class Counting:
        calls = 0

        @hookimpl
        def weight(self, batch):
            self.calls += 1
            return F.token_mean(batch.mask)

    compose("grpo", counting := Counting())
    assert counting.calls == 1


def test_a_text_may_name_several_plugins():
    joined = compose("grpo+dapo", "dual_clip", knobs={"group_size": 4})
    assert joined.layers == compose("grpo", "dapo", "dual_clip", knobs={"group_size": 4}).layers
    assert joined.name == "grpo+dapo+dual_clip"
    with pytest.raises(PluginError, match="no plugin 'dapoo'"):
        compose("grpo+dapoo")


def test_an_algorithm_is_called_by_the_plugins_named():
    assert compose("grpo", TokenMean, Scaled).name == "grpo+token_mean+scaled"
    assert compose(Wider).name == "wider"


def test_what_is_set_is_shown():
    algorithm = compose("grpo", knobs={"clip_low": 0.1})
    assert algorithm.knobs["clip_low"].is_set
    assert not algorithm.knobs["clip_high"].is_set
    assert "clip_low=0.1" in repr(algorithm)


def test_a_composed_algorithm_leaves_others_alone():
    plain = compose("grpo")
    compose("grpo", Scaled, TokenMean)
    assert [impl.plugin_name for impl in plain.answers("clip")] == ["grpo"]
    assert [impl.plugin_name for impl in plain.answers("weight")] == ["grpo"]


def test_hooks_and_keywords_say_the_same():
    messages = []
    for swaps in ({"clip": "grpo"}, {"hooks": {"clip": "grpo"}}):
        with pytest.raises(PluginError, match="in the stack already") as caught:
            compose("grpo", **swaps)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_a_stage_taken_from_two_plugins_is_refused():
    with pytest.raises(PluginError, match=r"'clip'.*'one'.*'two'"):
        compose("grpo", hooks={"clip": "one"}, clip="two")


def test_no_plugin_is_no_algorithm():
    with pytest.raises(PluginError, match="at least one"):
        compose()


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(PluginError, match="no plugin 'grpoo'; did you mean 'grpo'"):
        compose("grpoo")


def test_two_plugins_of_one_name_are_refused():
    other = type(Plugin)("GRPO", (Plugin,), {"__module__": __name__})
    with pytest.raises(PluginError, match=r"'grpo' does not fit: .*already registered"):
        compose("grpo", other)


def test_a_modifier_alone_is_refused():
    with pytest.raises(PluginError, match=r"token_mean is no whole algorithm: .*'rollout'"):
        compose(TokenMean)


def test_a_set_knob_of_a_replaced_stage_is_an_error_that_says_by_whom():
    with pytest.raises(KnobError, match=r"'clip_low'.*'clip' is answered by 'unclipped'.*'grpo'"):
        compose("grpo", Unclipped, knobs={"clip_low": 0.1})


def test_a_set_knob_that_another_knob_switches_off_is_an_error_that_says_so():
    with pytest.raises(KnobError, match=r"'kl_estimator'.*the other knobs"):
        compose("grpo", knobs={"kl_coef": 0.0, "kl_estimator": "k1"})


def test_a_replaced_stage_that_never_read_the_knob_is_not_blamed():
    with pytest.raises(KnobError, match=r"'kl_estimator'.*the other knobs"):
        compose(Wider, knobs={"kl_estimator": "k1"})


def test_a_replaced_stage_is_blamed_whoever_re_defaulted_its_knob():
    with pytest.raises(KnobError, match=r"'clip_high'.*'clip' is answered by 'unclipped'.*'grpo'"):
        compose(Wider, Unclipped, knobs={"clip_high": 0.3})


def test_a_knob_set_on_an_instance_and_unread_is_an_error_too():
    with pytest.raises(KnobError, match="'clip_low' is set, but no active stage"):
        compose(GRPO(clip_low=0.1), Unclipped)


def test_an_unread_default_is_no_error():
    algorithm = compose("grpo", Unclipped)
    assert not {"clip_low", "clip_high"} & algorithm.active_knobs
    assert "group_size" in algorithm.active_knobs


def test_a_knob_that_switches_something_off_is_read():
    assert "kl_coef" in compose("grpo", knobs={"kl_coef": 0.0}).active_knobs


def test_a_knob_that_only_a_wrapper_reads_is_read():
    class Shaped(Plugin):
        factor: float = 2.0

        @hookimpl(wrapper=True)
        def clip(self):
            gain = yield
            return self.factor * gain

    algorithm = compose("grpo", Unclipped, Shaped, knobs={"factor": 3.0})
    assert "factor" in algorithm.active_knobs


def task(name, knobs=()):
    return ChosenTask(name, SimpleNamespace(knobs=dict(knobs)), owns_model=True)


class Picky(Plugin):
    """Would like larger groups and another clip range for a task."""

    task_knobs: ClassVar = {"addition": {"group_size": 12, "clip_low": 0.1}}


def test_a_task_gets_the_knobs_that_suit_it_unless_they_are_set():
    algorithm = suited_to(task("addition"), compose("grpo", Picky, knobs={"group_size": 4}))
    assert algorithm.knobs["group_size"].value == 4
    assert algorithm.knobs["clip_low"].value == 0.1
    assert compose("grpo", Picky).knobs["clip_low"].value == 0.2


def test_an_algorithm_without_wishes_suits_a_task_as_it_is():
    algorithm = compose("grpo")
    assert suited_to(task("addition"), algorithm) is algorithm
    picky = compose("grpo", Picky)
    assert suited_to(task("another task"), picky) is picky
    assert suited_to(task("another task", knobs={"no knob of it": 1}), picky) is picky


def test_a_task_may_have_wishes_of_its_own_and_the_algorithm_knows_better():
    algorithm = suited_to(
        task("addition", knobs={"group_size": 3, "kl_coef": 0.5}), compose("grpo", Picky)
    )
    assert algorithm.knobs["group_size"].value == 12
    assert algorithm.knobs["kl_coef"].value == 0.5


def test_preferences_that_do_not_go_with_what_is_set_are_left_out():
    set_by_user = compose("gfpo", knobs={"group_size": 12})
    assert suited_to(task("addition"), set_by_user).knobs["keep"].value == 8
    assert (
        suited_to(task("addition"), compose("gfpo")).knobs["keep"].origin
        == "suits the task 'addition'"
    )


@pytest.mark.parametrize("stack", [("gspo", "dapo"), ("rloo", "dapo"), ("gspo", "cispo")])
def test_a_gain_per_sequence_under_weights_per_token_is_refused(stack):
    with pytest.raises(PluginError, match="weigh rows alike"):
        compose(*stack)


def test_a_plugin_that_another_replaces_entirely_is_refused():
    with pytest.raises(PluginError, match="'gdpo' has no effect"):
        compose("gdpo", "gfpo")


def test_a_wish_of_a_task_that_no_run_could_have_is_an_error():
    with pytest.raises(KnobError, match="group_size = -6"):
        suited_to(task("addition", knobs={"group_size": -6}), compose("grpo"))
