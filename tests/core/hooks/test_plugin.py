"""A plugin that pluggy would drop or misread without a word is refused in words."""

import pytest
from pydantic import Field, ValidationError

from anypo import Plugin, compose, hookimpl
from anypo.errors import PluginError
from anypo_plugins.policy_gradient.grpo import GRPO


@hookimpl
def marked(self, batch):
    return batch.rewards


def unmarked(self, batch):
    return batch.rewards


@hookimpl
def keyword_only(self, *, batch):
    return batch.rewards


@hookimpl
def defaulted(self, batch=None):
    return batch.rewards


@hookimpl
def variadic(self, *tensors):
    return tensors[0]


@hookimpl
def all_keywords(self, **tensors):
    return tensors["batch"].rewards


@hookimpl(tryfirst=True)
def first(self, batch):
    return batch.rewards


@hookimpl(trylast=True)
def last(self, batch):
    return batch.rewards


@hookimpl(hookwrapper=True)
def old_style(self):
    yield


@hookimpl
def unknown_argument(self, batch, rewards):
    return rewards


@hookimpl(wrapper=True)
def no_generator(self, batch):
    return batch.rewards


def define(base, **members):
    return type(base)("Faulty", (base,), {"__module__": __name__, **members})


def use(base, **members):
    return compose(GRPO, define(base, **members))


bases = pytest.mark.parametrize("base", [Plugin, object], ids=["Plugin", "plain class"])


@bases
def test_a_marked_method_answers_its_stage(base):
    assert use(base, advantage=marked).answers("advantage")[0].plugin_name == "faulty"


@bases
def test_a_stage_without_hookimpl_is_refused(base):
    with pytest.raises(PluginError, match=r"Faulty\.advantage .* lacks @hookimpl"):
        use(base, advantage=unmarked)


@bases
def test_a_marked_method_that_is_no_stage_suggests_the_nearest(base):
    with pytest.raises(PluginError, match=r"Faulty\.advantages .*did you mean 'advantage'"):
        use(base, advantages=marked)


@bases
@pytest.mark.parametrize(
    ("hook", "argument"),
    [
        (keyword_only, "batch"),
        (defaulted, "batch"),
        (variadic, "tensors"),
        (all_keywords, "tensors"),
    ],
)
def test_an_argument_that_pluggy_never_fills_is_refused(base, hook, argument):
    with pytest.raises(PluginError, match=rf"Faulty\.advantage: make '{argument}' a plain"):
        use(base, advantage=hook)


@bases
@pytest.mark.parametrize("hook", [first, last])
def test_jumping_the_stack_is_refused(base, hook):
    with pytest.raises(PluginError, match=r"Faulty\.advantage uses tryfirst or trylast"):
        use(base, advantage=hook)


@bases
def test_an_old_style_wrapper_is_refused(base):
    with pytest.raises(PluginError, match=r"Faulty\.advantage .*wrapper=True"):
        use(base, advantage=old_style)


@bases
def test_an_override_without_hookimpl_is_refused(base):
    parent = define(base, advantage=marked)
    with pytest.raises(PluginError, match=r"Faulty\.advantage .* lacks @hookimpl"):
        use(parent, advantage=unmarked)


@bases
def test_an_unmarked_method_of_another_name_is_nobodys_business(base):
    assert use(base, advantage=marked, helper=unmarked).answers("advantage")


@bases
def test_an_unknown_argument_is_refused_when_composed(base):
    plugin = define(base, advantage=unknown_argument)
    with pytest.raises(
        PluginError,
        match="'faulty' does not fit: 'advantage' is given no 'rewards'; there is batch, state",
    ):
        compose(GRPO, plugin)


@bases
def test_a_wrapper_that_does_not_yield_is_refused_when_composed(base):
    with pytest.raises(
        PluginError, match="'faulty' does not fit: 'advantage' is a wrapper without"
    ):
        use(base, advantage=no_generator)


@pytest.mark.filterwarnings("ignore:Field name")  # pydantic's, which is easily missed
@pytest.mark.parametrize("name", ["extends", "claims", "couples", "options", "hook_api"])
def test_what_a_plugin_says_of_itself_becomes_no_knob_by_an_annotation(name):
    value = getattr(Plugin, name)
    with pytest.raises(PluginError, match=f"Faulty.{name} became a knob: write {name}: ClassVar"):
        type("Faulty", (Plugin,), {"__annotations__": {name: type(value)}, name: value})


def test_a_plugin_class_is_checked_before_it_is_used():
    with pytest.raises(PluginError, match="lacks @hookimpl"):
        define(Plugin, advantage=unmarked)


def test_an_instance_of_a_plain_class_is_checked_too():
    with pytest.raises(PluginError, match="lacks @hookimpl"):
        compose(GRPO, define(object, advantage=unmarked)())


def test_a_static_method_can_answer_a_stage():
    @hookimpl
    def advantage(batch):
        return batch.rewards

    plugin = define(object, advantage=staticmethod(advantage))
    assert compose(GRPO, plugin).answers("advantage")[0].plugin_name == "faulty"


@pytest.mark.parametrize("nothing", [42, object(), {"clip": "grpo"}])
def test_an_object_that_answers_no_stage_is_refused(nothing):
    with pytest.raises(PluginError, match="stage"):
        compose(GRPO, nothing)


def test_a_plugin_is_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        GRPO().clip_low = 0.1


def test_a_knob_that_is_not_declared_is_refused():
    with pytest.raises(ValidationError, match="clip_lo"):
        GRPO(clip_lo=0.1)


class Stops(Plugin):
    stops: list[str] = Field(["."])

    @hookimpl
    def advantage(self, batch):
        return batch.rewards * len(self.stops)


def test_a_plugin_with_a_list_for_a_knob_can_be_registered():
    algorithm = compose(GRPO, Stops(stops=[".", "!"]))
    assert algorithm.knobs["stops"].value == [".", "!"]


def test_pluggy_can_keep_a_plugin_with_a_list_for_a_knob_in_a_set():
    assert len(compose(GRPO, Stops).manager.get_plugins()) == 2


def test_two_equal_plugins_can_stand_in_different_stacks():
    assert GRPO() == GRPO()
    assert [compose(plugin).name for plugin in (GRPO(), GRPO())] == ["grpo", "grpo"]
