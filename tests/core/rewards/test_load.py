import importlib

import pytest

from anypo.errors import RewardError
from anypo.rewards.load import load_reward


@pytest.mark.parametrize("name", ["exact", "length", "math", "regex:a"])
def test_a_built_in_is_found_by_name(name):
    reward = load_reward(name)
    assert (reward.name, reward.weight) == (name.partition(":")[0], 1.0)
    assert callable(reward.function)


def test_a_function_in_a_file_is_found(file):
    reward = load_reward(file("def score(completions): return [4.0]") + ":score")
    assert reward.name == "score"
    assert reward.function([]) == [4.0]


def test_a_function_in_a_module_is_found(folder, monkeypatch):
    (folder / "acme").mkdir()
    (folder / "acme" / "scores.py").write_text("def score(completions): return [4.0]")
    monkeypatch.syspath_prepend(folder)
    assert load_reward("acme.scores:score").function([]) == [4.0]


def test_a_file_may_define_data_classes(file):
    code = (
        "from __future__ import annotations\n"
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Score:\n"
        "    value: float\n"
        "def score(completions): return [Score(4.0).value]\n"
    )
    assert load_reward(file(code) + ":score").function([]) == [4.0]


@pytest.mark.parametrize(
    ("spec", "weight"),
    [("exact=0.5", 0.5), ("length=-1e-3", -0.001), ("regex:a=2", 2.0), ("regex:a=b=2", 2.0)],
)
def test_a_weight_may_follow(spec, weight):
    assert load_reward(spec).weight == weight


def test_a_weight_may_follow_a_function_in_a_file(file):
    reward = load_reward(file("def score(completions): return [4.0]") + ":score=0.5")
    assert (reward.name, reward.weight) == ("score", 0.5)


@pytest.mark.parametrize(
    ("spec", "match", "other"),
    [
        ("regex:a=b", "a=b", "a"),
        ("regex:x=1=2", "x=1", "x"),
        ("regex:a:b", "a:b", "a"),
        ("regex:a.py:3", "a.py:3", "3"),
    ],
)
def test_a_pattern_may_hold_what_separates_the_parts_of_a_specification(spec, match, other):
    assert load_reward(spec).function(completions=[match, other]) == [1.0, 0.0]


@pytest.mark.parametrize("weight", ["nan", "inf", "-inf", "1e999"])
def test_a_weight_that_is_not_finite_is_refused(weight):
    with pytest.raises(RewardError, match=f"exact={weight}"):
        load_reward(f"exact={weight}")


def test_an_unknown_built_in_names_the_nearest():
    with pytest.raises(RewardError, match="there is no reward 'exatc'; did you mean 'exact'"):
        load_reward("exatc")


@pytest.mark.parametrize("spec", ["", "mine.py", "judge"])
def test_an_unknown_reward_says_how_to_name_ones_own(spec):
    with pytest.raises(RewardError, match=r"as file\.py:function or package\.module:function"):
        load_reward(spec)


def test_a_weight_that_is_no_number_is_refused():
    with pytest.raises(RewardError, match="there is no reward 'exact=half'"):
        load_reward("exact=half")


def test_a_missing_file_is_named():
    with pytest.raises(RewardError, match=r"imported: FileNotFoundError: no file 'no\.py'"):
        load_reward("no.py:score")


def test_a_missing_module_is_named():
    with pytest.raises(RewardError, match="ModuleNotFoundError: No module named 'nowhere'"):
        load_reward("nowhere.at.all:score")


@pytest.mark.parametrize("name", ["scroe", "LIMIT"])
def test_a_missing_function_is_named(file, name):
    with pytest.raises(RewardError, match=rf"my_rewards\.py' defines no function '{name}'"):
        load_reward(file("LIMIT = 3\ndef score(completions): return [4.0]") + f":{name}")


@pytest.mark.parametrize(
    ("code", "cause"), [("1 / 0", "ZeroDivisionError: division by zero"), ("def", "SyntaxError: ")]
)
def test_an_import_that_raises_says_why(file, code, cause):
    with pytest.raises(RewardError, match=rf"my_rewards\.py:score' cannot be imported: {cause}"):
        load_reward(file(code) + ":score")


def test_a_file_named_like_a_library_does_not_replace_it(file):
    load_reward(file("def score(completions): return [4.0]", name="wave.py") + ":score")
    assert hasattr(importlib.import_module("wave"), "Wave_read")


@pytest.mark.parametrize("name", ["exact", "math=0.5"])
def test_a_directory_of_the_same_name_does_not_hide_a_built_in(folder, monkeypatch, name):
    (folder / name.partition("=")[0]).mkdir()
    monkeypatch.chdir(folder)
    assert load_reward(name).name == name.partition("=")[0]
