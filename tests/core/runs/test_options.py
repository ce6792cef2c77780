import tomllib
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from anypo import Plugin, compose
from anypo.errors import ConfigError
from anypo.runs.options import (
    BUILT_IN_DEFAULTS,
    Recipe,
    RunConfig,
    inapplicable,
    make_config,
    read_recipe,
    resolve,
    write_recipe,
)

NAMES = st.text("abcdefghij_", min_size=1).map("x_".__add__)
VALUES = st.recursive(
    st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda values: st.lists(values, max_size=3),
    max_leaves=5,
)
RECIPES = st.builds(
    Recipe,
    st.text(),
    st.dictionaries(NAMES, VALUES, max_size=3),
    st.dictionaries(NAMES, VALUES, max_size=3),
    st.dictionaries(NAMES, st.text(), max_size=3),
)


@pytest.fixture
def write(tmp_path):
    """Write a recipe file and return its path."""

    def write(text):
        path = tmp_path / "recipe.toml"
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def test_options_become_a_configuration():
    config = make_config({"steps": 3, "reward": ["exact", "length=0.01"], "learning_rate": 1})
    assert (config.steps, config.reward, config.learning_rate) == (
        3,
        ["exact", "length=0.01"],
        1.0,
    )


def test_no_options_are_the_defaults():
    assert make_config({}) == RunConfig()


def test_every_default_is_within_its_range():
    assert make_config(RunConfig().model_dump()) == RunConfig()


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
        ("save_every", 0),
        ("reward", "exact"),
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


@pytest.mark.parametrize("name", ["warmup_steps", "weight_decay", "reward_timeout", "seed"])
def test_zero_is_allowed_where_it_means_none(name):
    assert getattr(make_config({name: 0}), name) == 0


class Picky(Plugin):
    """Would like other run options for the built-in model, and another reward for its task."""

    built_in_options: ClassVar = {"steps": 3, "epochs": 4, "reward": ["length"]}


GRPO, PICKY = compose("grpo"), compose("grpo", Picky)
SFT, SCORER = compose("sft"), compose("reward_model")


def test_the_built_in_model_has_defaults_of_its_own():
    resolved = resolve(make_config({}), GRPO, built_in=True)
    assert {name: getattr(resolved, name) for name in BUILT_IN_DEFAULTS} == BUILT_IN_DEFAULTS


@pytest.mark.parametrize("name", BUILT_IN_DEFAULTS)
def test_what_the_user_set_wins_over_the_defaults_of_the_built_in_model(name):
    value = RunConfig.model_fields[name].default
    resolved = resolve(make_config({name: value}), GRPO, built_in=True)
    others = BUILT_IN_DEFAULTS.keys() - {name}
    assert getattr(resolved, name) == value
    assert all(getattr(resolved, other) == BUILT_IN_DEFAULTS[other] for other in others)


def test_an_algorithm_may_prefer_other_defaults_for_the_built_in_model():
    resolved = resolve(make_config({"epochs": 2}), PICKY, built_in=True)
    assert (resolved.steps, resolved.epochs) == (3, 2)
    assert resolved.learning_rate == BUILT_IN_DEFAULTS["learning_rate"]


def test_passes_of_the_data_take_the_place_of_the_built_in_steps():
    for algorithm in (GRPO, PICKY):
        resolved = resolve(make_config({"data_epochs": 2}), algorithm, built_in=True)
        assert (resolved.steps, resolved.data_epochs) == (None, 2)
        assert resolved.learning_rate == BUILT_IN_DEFAULTS["learning_rate"]


CRITIC = {"critic", "critic_learning_rate", "critic_warmup_steps"}
REFERENCE = {"ref_sync_every", "ref_sync_alpha", "precompute_reference"}
REWARDS = {"reward", "reward_timeout"}


@pytest.mark.parametrize(
    ("algorithm", "options"),
    [
        (GRPO, CRITIC),
        (compose("hybrid_grpo"), REFERENCE),
        (compose("dpo"), CRITIC | {"max_rounds"}),
        (SFT, CRITIC | REFERENCE | {"max_rounds"}),
        (SCORER, CRITIC | REFERENCE | REWARDS | {"max_rounds", "sampler", "temperature"}),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_options_of_what_an_algorithm_lacks_are_inapplicable(algorithm, options):
    assert inapplicable(algorithm).keys() == options


def test_what_an_option_would_need_is_said():
    assert inapplicable(SCORER) == {
        **dict.fromkeys(CRITIC, "critic model"),
        **dict.fromkeys(REFERENCE, "reference model"),
        **dict.fromkeys(REWARDS, "completions to score"),
        "max_rounds": "sampling in its rollout",
        "sampler": "completions to score",
        "temperature": "probabilities of tokens",
    }


def test_another_model_keeps_the_defaults_of_every_option():
    config = make_config({"model": "mine", "data": "mine.jsonl", "reward": ["math"]})
    assert resolve(config, PICKY, built_in=False) == config


class Steady(Plugin):
    """Suits another learning rate than most, whatever the model."""

    options: ClassVar = {"learning_rate": 2e-5, "max_completion_length": 99}


@pytest.mark.parametrize(
    ("options", "built_in", "rate", "length"),
    [
        ({}, False, 2e-5, 99),
        ({"learning_rate": 3e-7}, False, 3e-7, 99),
        ({}, True, 5e-4, 40),  # what suits the built-in model is of another size
    ],
)
def test_a_plugin_may_suit_other_options_than_most(options, built_in, rate, length):
    algorithm = compose("grpo", Steady)
    resolved = resolve(make_config({"model": "mine", **options}), algorithm, built_in=built_in)
    assert (resolved.learning_rate, resolved.max_completion_length) == (rate, length)
    assert "options" not in algorithm.knobs


def test_a_model_trained_from_the_built_in_one_has_its_defaults_on_any_data():
    config = make_config({"model": "mine", "data": "mine.jsonl"})
    resolved = resolve(config, PICKY, built_in=True)
    assert (resolved.steps, resolved.epochs, resolved.reward) == (3, 4, [])


@pytest.mark.parametrize("built_in", [True, False])
def test_the_built_in_data_have_a_reward_of_their_own(built_in):
    def reward(options, algorithm=GRPO):
        return resolve(make_config(options), algorithm, built_in=built_in).reward

    assert reward({}) == ["exact"]
    assert reward({}, PICKY) == ["length"]
    assert reward({"model": "mine"}) == ["exact"]
    assert reward({"reward": ["length"]}) == ["length"]
    assert reward({"data": "mine.jsonl"}, PICKY) == []


def test_what_learns_from_completions_is_evaluated_by_the_built_in_reward_if_it_writes_any():
    assert resolve(make_config({}), SFT, built_in=True).reward == ["exact"]
    assert resolve(make_config({}), SCORER, built_in=True).reward == []


def test_resolving_leaves_the_configuration_alone():
    config = make_config({})
    resolve(config, PICKY, built_in=True)
    assert config == RunConfig()


@given(st.sets(st.sampled_from(sorted(RunConfig.model_fields))), st.booleans())
def test_resolving_twice_is_resolving_once(names, built_in):
    values = {**RunConfig().model_dump(), "model": "mine", "steps": 7}
    once = resolve(make_config({name: values[name] for name in names}), PICKY, built_in=built_in)
    assert resolve(once, PICKY, built_in=built_in) == once


@given(RECIPES)
@settings(
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_recipe_is_read_as_it_was_written(tmp_path, recipe):
    write_recipe(tmp_path / "recipe.toml", recipe)
    assert read_recipe(str(tmp_path / "recipe.toml")) == recipe


def test_every_option_survives_the_file(tmp_path):
    config = make_config({"reward": ['regex:"a=1"\\d\n=2', "größe.py:f"], "steps": 7})
    write_recipe(tmp_path / "recipe.toml", Recipe("grpo", config.model_dump()))
    assert make_config(read_recipe(str(tmp_path / "recipe.toml")).options) == config


def test_an_option_that_is_not_set_is_not_written(tmp_path):
    write_recipe(tmp_path / "recipe.toml", Recipe("grpo", {"model": None, "steps": 3}))
    assert read_recipe(str(tmp_path / "recipe.toml")) == Recipe("grpo", {"steps": 3})


def test_what_is_written_is_toml(tmp_path):
    recipe = Recipe("grpo+mine", {"steps": 3}, {"group_size": 4}, {"clip": "cispo"})
    write_recipe(tmp_path / "recipe.toml", recipe)
    assert tomllib.loads((tmp_path / "recipe.toml").read_text(encoding="utf-8")) == {
        "algorithm": "grpo+mine",
        "steps": 3,
        "knobs": {"group_size": 4},
        "hooks": {"clip": "cispo"},
    }


def test_a_recipe_by_hand_may_leave_anything_out(write):
    assert read_recipe(write("")) == Recipe()
    assert read_recipe(write("steps = 3")) == Recipe(options={"steps": 3})
    assert read_recipe(write('algorithm = "grpo"\n[knobs]\nkl_coef = 0')) == Recipe(
        "grpo", knobs={"kl_coef": 0}
    )


@pytest.mark.parametrize(
    "text", ["steps = ", "[knobs", "steps = 3\nsteps = 4", 'algorithm = "grpo', "\ufeffsteps = 3"]
)
def test_malformed_toml_names_the_file(write, text):
    with pytest.raises(ConfigError, match=r"^config '.*recipe\.toml' cannot be read: [^\n]+$"):
        read_recipe(write(text))


def test_a_file_that_is_no_text_cannot_be_read(tmp_path):
    (tmp_path / "recipe.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_recipe(str(tmp_path / "recipe.toml"))


@pytest.mark.parametrize("name", ["missing.toml", "."])
def test_a_file_that_is_not_there_cannot_be_read(tmp_path, name):
    with pytest.raises(ConfigError, match=r"^config '.*' cannot be read: "):
        read_recipe(str(tmp_path / name))


@pytest.mark.parametrize(
    "text",
    [
        "algorithm = 3",
        "knobs = 3",
        "hooks = []",
    ],
)
def test_what_no_recipe_holds_is_refused(write, text):
    with pytest.raises(ConfigError, match=r"recipe\.toml': algorithm is a text, \[knobs\]"):
        read_recipe(write(text))
