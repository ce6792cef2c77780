import tomllib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from anypo.errors import ConfigError
from anypo.runs.options import make_config
from anypo.runs.recipe import Recipe, read_recipe, write_recipe

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
    expected = config.model_dump()
    write_recipe(tmp_path / "recipe.toml", Recipe("grpo", expected))
    assert make_config(read_recipe(str(tmp_path / "recipe.toml")).options).model_dump() == expected


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
