from types import SimpleNamespace
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

import anypo.functional as F
from anypo import Plugin, compose, hookimpl
from anypo.composition.compose import suited_to
from anypo.errors import ConfigError, PluginError
from anypo.hooks.task import ChosenTask
from anypo.runs.options import (
    RunConfig,
    config_class,
    make_config,
    panels,
    resolve,
    sampler_of,
)
from anypo_tasks.addition.task import Addition

OWN = ChosenTask("addition", Addition(), owns_model=True)
ON_ITS_DATA = ChosenTask("addition", Addition(), owns_model=False)
TASKS = pytest.mark.parametrize("task", [OWN, ON_ITS_DATA], ids=["its model", "another model"])


def test_options_become_a_configuration():
    config = make_config({"steps": 3, "reward": ["exact", "length=0.01"], "learning_rate": 1})
    assert (config.steps, config.reward, config.learning_rate) == (
        3,
        ["exact", "length=0.01"],
        1.0,
    )


def test_no_options_are_the_defaults():
    assert make_config({}).model_dump() == RunConfig().model_dump()


def test_every_default_is_within_its_range():
    assert make_config(RunConfig().model_dump()).model_dump() == RunConfig().model_dump()


def test_every_option_is_described():
    assert all(field.description for field in RunConfig.model_fields.values())


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        make_config({}).steps = 3


@pytest.mark.parametrize(
    ("name", "near"), [("step", "steps"), ("learning-rate", "learning_rate"), ("modle", "model")]
)
def test_an_unknown_option_names_the_nearest(name, near):
    with pytest.raises(ConfigError, match=f"no run option '{name}'; did you mean '{near}'"):
        make_config({name: 1})


def test_an_option_like_no_other_names_all_there_are():
    names = ", ".join(sorted(RunConfig.model_fields))
    with pytest.raises(ConfigError, match=f"no run option 'zzz'; there is {names} \\(in a file"):
        make_config({"zzz": 1})


def test_pairs_of_the_command_line_become_a_table():
    given = ["thinks=false", "effort=low", 'tags=["a"]', "note=a=b", "n=3"]
    table = {"thinks": False, "effort": "low", "tags": ["a"], "note": "a=b", "n": 3}
    assert make_config({"chat_template_kwargs": given}).chat_template_kwargs == table
    assert make_config({"chat_template_kwargs": table}).chat_template_kwargs == table


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        (["thinks"], "write thinks as KEY=VALUE"),
        (["a=1", "a=2"], "a is given twice"),
        (["thinks=False"], "write thinks=false, as in JSON"),
    ],
)
def test_pairs_that_mean_something_else_are_refused(pairs, said):
    with pytest.raises(ConfigError, match=f"chat_template_kwargs = .* is refused: {said}"):
        make_config({"chat_template_kwargs": pairs})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("steps", 2.5),
        ("steps", "many"),
        ("data_epochs", 0),
        ("prompts_per_step", 0),
        ("epochs", 0),
        ("minibatches", 0),
        ("learning_rate", 0),
        ("learning_rate", float("nan")),
        ("warmup_steps", -1),
        ("schedule", "exponential"),
        ("weight_decay", -0.1),
        ("max_grad_norm", 0),
        ("temperature", 0),
        ("max_completion_length", 0),
        ("max_prompt_length", 0),
        ("token_budget", 0),
        ("reward_timeout", -1),
        ("seed", -1),
        ("device", "tpu"),
        ("dtype", "float16"),
        ("eval_every", 0),
        ("eval_temperature", 0),
        ("eval_top_p", 0),
        ("eval_top_p", 1.5),
        ("eval_top_k", -1),
        ("save_every", 0),
        ("reward", 3),
        ("model", 3),
        ("learning_rate", float("inf")),
        ("temperature", float("inf")),
        ("reward_timeout", float("inf")),
    ],
)
def test_a_value_out_of_range_names_the_option_and_the_value(name, value):
    with pytest.raises(ConfigError, match=rf"^{name} = {value!r} is refused: [a-z].+$"):
        make_config({name: value})


def test_a_wrong_item_of_a_list_is_named():
    with pytest.raises(ConfigError, match=r"^reward\.1 = 3 is refused"):
        make_config({"reward": ["exact", 3]})
    with pytest.raises(ConfigError, match=r"^eval_stop\.0 = '' is refused"):
        make_config({"eval_stop": [""]})


@pytest.mark.parametrize("name", ["warmup_steps", "weight_decay", "reward_timeout", "seed"])
def test_zero_is_allowed_where_it_means_none(name):
    assert getattr(make_config({name: 0}), name) == 0


class Picky(Plugin):
    """Would like other run options for the built-in model, and another reward for its task."""

    task_options: ClassVar = {
        "addition": {"steps": 3, "epochs": 4, "reward": ["length"]},
        "another": {"steps": 5},
    }


GRPO, PICKY = compose("grpo"), compose("grpo", Picky)
SFT, SCORER = compose("sft"), compose("reward_model")


def test_the_built_in_model_has_defaults_of_its_own():
    resolved = resolve(make_config({}), GRPO, OWN)
    assert {name: getattr(resolved, name) for name in Addition.options} == Addition.options


@pytest.mark.parametrize("name", Addition.options)
def test_what_the_user_set_wins_over_the_defaults_of_the_built_in_model(name):
    value = RunConfig.model_fields[name].default
    resolved = resolve(make_config({name: value}), GRPO, OWN)
    others = Addition.options.keys() - {name}
    assert getattr(resolved, name) == value
    assert all(getattr(resolved, other) == Addition.options[other] for other in others)


def test_an_algorithm_may_prefer_other_defaults_for_the_built_in_model():
    resolved = resolve(make_config({"epochs": 2}), PICKY, OWN)
    assert (resolved.steps, resolved.epochs) == (3, 2)
    assert resolved.learning_rate == Addition.options["learning_rate"]


def test_passes_of_the_data_take_the_place_of_the_built_in_steps():
    for algorithm in (GRPO, PICKY):
        resolved = resolve(make_config({"data_epochs": 2}), algorithm, OWN)
        assert (resolved.steps, resolved.data_epochs) == (None, 2)
        assert resolved.learning_rate == Addition.options["learning_rate"]


def test_another_model_keeps_the_defaults_of_every_option():
    config = make_config({"model": "mine", "data": "mine.jsonl", "reward": ["math"]})
    assert resolve(config, PICKY, None) == config


class Steady(Plugin):
    """Suits another learning rate than most, whatever the model."""

    options: ClassVar = {"learning_rate": 2e-5, "max_completion_length": 99}


@pytest.mark.parametrize(
    ("options", "task", "rate", "length"),
    [
        ({}, None, 2e-5, 99),
        ({}, ON_ITS_DATA, 2e-5, 99),
        ({"learning_rate": 3e-7}, None, 3e-7, 99),
        ({}, OWN, 5e-4, 40),  # what suits the built-in model is of another size
    ],
)
def test_a_plugin_may_suit_other_options_than_most(options, task, rate, length):
    algorithm = compose("grpo", Steady)
    resolved = resolve(make_config({"model": "mine", **options}), algorithm, task)
    assert (resolved.learning_rate, resolved.max_completion_length) == (rate, length)
    assert "options" not in algorithm.knobs


def test_a_model_trained_from_the_built_in_one_has_its_defaults_on_any_data():
    config = make_config({"model": "mine", "data": "mine.jsonl"})
    resolved = resolve(config, PICKY, OWN)
    assert (resolved.steps, resolved.epochs, resolved.reward) == (3, 4, [])


@TASKS
def test_the_built_in_data_have_a_reward_of_their_own(task):
    def reward(options, algorithm=GRPO):
        return resolve(make_config(options), algorithm, task).reward

    assert reward({}) == ["exact"]
    assert reward({}, PICKY) == ["length"]
    assert reward({"model": "mine"}) == ["exact"]
    assert reward({"reward": ["length"]}) == ["length"]
    assert reward({"data": "mine.jsonl"}, PICKY) == []


def test_what_learns_from_completions_is_evaluated_by_the_built_in_reward_if_it_writes_any():
    assert resolve(make_config({}), SFT, OWN).reward == ["exact"]
    assert resolve(make_config({}), SCORER, OWN).reward == []


def test_resolving_leaves_the_configuration_alone():
    config = make_config({})
    resolve(config, PICKY, OWN)
    assert config.model_dump() == RunConfig().model_dump()


@given(st.sets(st.sampled_from(sorted(RunConfig.model_fields))), st.booleans())
def test_resolving_twice_is_resolving_once(names, owns_model):
    task = OWN if owns_model else ON_ITS_DATA
    values = {**RunConfig().model_dump(), "model": "mine", "steps": 7}
    once = resolve(make_config({name: values[name] for name in names}), PICKY, task)
    assert resolve(once, PICKY, task) == once


def test_the_task_is_written_down_by_the_name_that_finds_it():
    task = ChosenTask("anypo-fish:addition", Addition(), owns_model=True)
    assert resolve(make_config({}), GRPO, task).task == "anypo-fish:addition"


# -- options that samplers bring along -----------------------------------------------------------


@pytest.mark.parametrize("name", ["echo", "anypo-echo:echo"])
def test_the_fields_of_a_sampler_are_options(echo, name):
    config = make_config({"sampler": name, "echo_volume": 3})
    assert (config.echo_volume, config.echo_mode) == (3.0, "hall")
    _, sampler = sampler_of(config)
    assert (type(sampler).__name__, sampler.volume, sampler.mode) == ("Echo", 3.0, "hall")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"echo_volume": 0}, r"^echo_volume = 0 is refused: "),
        ({"echo_volumne": 2}, "no run option 'echo_volumne'; did you mean 'echo_volume'"),
        ({"volume": 2}, "no run option 'volume'"),
    ],
)
def test_an_option_of_a_sampler_is_checked_like_any_other(echo, options, says):
    with pytest.raises(ConfigError, match=says):
        make_config({"sampler": "echo", **options})


def test_an_option_of_another_sampler_is_refused(echo):
    says = "^echo_volume is set, but the sampler is transformers: nothing would read it$"
    with pytest.raises(ConfigError, match=says):
        make_config({"echo_volume": 2})


def test_there_is_no_such_sampler():
    with pytest.raises(PluginError, match="no sampler 'transformer'; did you mean 'transformers'"):
        make_config({"sampler": "transformer"})


# -- panels --------------------------------------------------------------------------------------


def test_every_option_stands_in_one_panel():
    config = config_class("transformers")
    names = [name for names in panels(config).values() for name in names]
    assert sorted(names) == sorted(config.model_fields)


def test_a_panel_holds_what_its_block_declares_in_that_order():
    found = panels(RunConfig)
    checkpoints = ["save_every", "keep_checkpoints", "keep_best"]
    assert found["Run"] == ["task", "model", "output", "track", *checkpoints]
    assert found["Adapters"] == ["lora_rank", "lora_alpha", "lora_modules"]


def test_the_options_of_a_sampler_are_a_panel_of_their_own(echo):
    assert panels(config_class("echo"))["Sampler echo"] == ["echo_volume", "echo_mode"]
    assert not [panel for panel in panels(RunConfig) if panel.startswith("Sampler ")]


@pytest.mark.parametrize("source", ["class Wrong:\n    pass\n", "Wrong = 3\n"])
def test_what_is_no_sampler_is_refused(install, source):
    install("anypo-x", {}, {"wrong.py": source}, others={"anypo.samplers": {"x": "wrong:Wrong"}})
    with pytest.raises(PluginError, match=r"^sampler 'x' of anypo-x 1.0 is no anypo.SamplerPlugin"):
        make_config({"sampler": "x"})


def test_options_that_a_sampler_refuses_together_are_one_line(install):
    source = """
from pydantic import model_validator
from anypo import Transformers

class Fussy(Transformers):
    low: int = 1
    high: int = 2

    @model_validator(mode="after")
    def _ordered(self):
        if self.low > self.high:
            raise ValueError("low is above high")
        return self
"""
    others = {"anypo.samplers": {"fussy": "fussy:Fussy"}}
    install("anypo-fussy", {}, {"fussy.py": source}, others=others)
    config = make_config({"sampler": "fussy", "fussy_low": 3})
    with pytest.raises(ConfigError, match=r"^sampler 'fussy' of anypo-fussy 1.0: .*low is above"):
        sampler_of(config)


def test_a_sampler_whose_option_would_be_called_like_one_of_every_run_is_refused(install):
    source = "from anypo import Transformers\n\nclass Max(Transformers):\n    rounds: int = 3\n"
    install("anypo-max", {}, {"maxim.py": source}, others={"anypo.samplers": {"max": "maxim:Max"}})
    with pytest.raises(PluginError, match=r"^sampler 'max' of anypo-max 1.0 has an option 'max_ro"):
        make_config({"sampler": "max"})


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"stepz": 3}, "stepz = 3 is refused"),
        ({"learning_rate": "fast"}, "learning_rate = 'fast' is refused"),
        ({"steps": -3}, "steps = -3 is refused"),
    ],
)
def test_what_a_task_prefers_is_held_to_the_same_ranges(options, reason):
    plugin = SimpleNamespace(reward=["exact"], options=options, knobs={})
    task = ChosenTask("odd", plugin, owns_model=True)
    with pytest.raises(PluginError, match=f"^of what task 'odd' would set, {reason}"):
        resolve(make_config({}), GRPO, task)


@pytest.mark.parametrize("wish", ["options", "task_options"])
def test_a_plugin_that_prefers_what_does_not_exist_is_named(wish):
    class Mine(Plugin):
        @hookimpl
        def weight(self, batch):
            return F.token_mean(batch.mask)

    setattr(Mine, wish, {"stepz": 3} if wish == "options" else {"addition": {"stepz": 3}})
    algorithm = compose("grpo", Mine)
    plugin = SimpleNamespace(reward=["exact"], options={"steps": 2}, knobs={})
    task = ChosenTask("addition", plugin, owns_model=True)
    with pytest.raises(PluginError, match=r"^of what plugin 'mine' would set, stepz = 3 is refus"):
        resolve(make_config({}), algorithm, task)


def test_the_reward_of_a_task_is_a_list():
    task = ChosenTask("odd", SimpleNamespace(reward=3, options={}, knobs={}), owns_model=True)
    with pytest.raises(PluginError, match="reward = 3 is refused"):
        resolve(make_config({}), GRPO, task)


@pytest.mark.parametrize("value", [3, ["vllm"], None])
def test_a_sampler_is_a_name(value):
    with pytest.raises(PluginError, match=r"^sampler .* is no name$"):
        make_config({"sampler": value})


@pytest.mark.parametrize(
    ("name", "body", "reason"),
    [
        ("2fast", "alpha: int = 3", "is called so that its options can have no names"),
        ("shy", "alpha: int = Field(3, alias='beta')", "has an alias for its field 'alpha'"),
    ],
)
def test_a_sampler_whose_options_can_have_no_names_is_refused(install, name, body, reason):
    source = f"""
from pydantic import Field
from anypo import Transformers

class Odd(Transformers):
    {body}
"""
    install("anypo-odd", {}, {"oddly.py": source}, others={"anypo.samplers": {name: "oddly:Odd"}})
    with pytest.raises(PluginError, match=f"^sampler '{name}' of anypo-odd 1.0 {reason}"):
        make_config({"sampler": name})


def test_a_sampler_without_a_start_is_refused(install):
    source = "from anypo import SamplerPlugin\n\nclass Odd(SamplerPlugin):\n    pass\n"
    install("anypo-odd", {}, {"oddly.py": source}, others={"anypo.samplers": {"odd": "oddly:Odd"}})
    with pytest.raises(PluginError, match=r"^sampler 'odd' of anypo-odd 1.0 lacks 'start'$"):
        make_config({"sampler": "odd"})


# -- one stage of another plugin -----------------------------------------------------------------


@pytest.mark.parametrize(("swap", "task"), [({"weight": "sft"}, None), ({"clip": "ppo"}, OWN)])
def test_a_plugin_of_which_one_stage_is_taken_sets_no_option(swap, task):
    plain, swapped = (resolve(make_config({}), compose("grpo", **s), task) for s in ({}, swap))
    assert swapped.model_dump() == plain.model_dump()


def test_a_plugin_of_which_one_stage_is_taken_sets_no_knob():
    swapped = compose("grpo", advantage="gfpo", knobs={"group_size": 16})
    assert suited_to(OWN, compose("gfpo")).knobs["keep"].value == 12
    assert suited_to(OWN, swapped).knobs["keep"].value == swapped.knobs["keep"].value == 8
