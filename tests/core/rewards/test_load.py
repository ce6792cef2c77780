import importlib

import pytest

from anypo.errors import PluginError, RewardError
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
    [("exact=0.5", 0.5), ("length=-1e-3", -0.001), ("regex=2:a", 2.0), ("regex=.5:a=b:c", 0.5)],
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
        ("regex:answer=42", "answer=42", "answer"),
        ("regex:x=1=2", "x=1=2", "x=1"),
        ("regex=2:x=3.5", "x=3.5", "x"),
        ("regex:a:b", "a:b", "a"),
        ("regex:a.py:3", "a.py:3", "3"),
    ],
)
def test_a_pattern_may_hold_what_separates_the_parts_of_a_specification(spec, match, other):
    assert load_reward(spec).function(completions=[match, other]) == [1.0, 0.0]


def test_what_ends_an_argument_is_no_weight():
    reward = load_reward("regex:answer=42")
    assert (reward.weight, reward.source) == (1.0, "regex:answer=42")


@pytest.mark.parametrize("weight", ["nan", "inf", "-inf", "1e999"])
def test_a_weight_that_is_not_finite_is_refused(weight):
    with pytest.raises(RewardError, match=f"exact={weight}"):
        load_reward(f"exact={weight}")


def test_an_unknown_built_in_names_the_nearest():
    with pytest.raises(RewardError, match="there is no reward 'exatc'; did you mean 'exact'"):
        load_reward("exatc")


@pytest.mark.parametrize("spec", ["mine.py", "rewards/mine.py", "/home/me/mine.py"])
def test_a_file_without_a_function_asks_for_one(spec):
    for weighted in (spec, f"{spec}=0.5"):
        with pytest.raises(
            RewardError, match=f"^reward '{spec}' names no function: write '{spec}:"
        ):
            load_reward(weighted)


@pytest.mark.parametrize("spec", ["", "referee"])
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


# -- of a third party ----------------------------------------------------------------------------

SHOUT = """
from anypo import RewardError


def shout(argument):
    \"\"\"How often the argument is shouted.\"\"\"
    if argument == "=":
        raise RewardError("reward 'shout' counts no '='")

    def counted(completions, **_):
        return [float(text.count(argument or "!")) for text in completions]

    return counted
"""
TEXTS = {"completions": ["a! b! a:b", "?"]}


@pytest.fixture
def shout(install):
    """Install a reward of a third party, and perhaps one of the same name of another."""

    def shout(*distributions):
        for distribution in distributions or ("anypo-shout",):
            module = distribution.replace("-", "_")
            others = {"anypo.rewards": {"shout": f"{module}:shout"}}
            install(distribution, {}, {f"{module}.py": SHOUT}, others=others)

    return shout


@pytest.mark.parametrize(
    ("spec", "scores", "weight"),
    [
        ("shout", [2.0, 0.0], 1.0),
        ("shout=0.5", [2.0, 0.0], 0.5),
        ("shout:?", [0.0, 1.0], 1.0),
        ("shout:a:b", [1.0, 0.0], 1.0),
        ("Shout=2:?", [0.0, 1.0], 2.0),
        ("shout:?=2", [0.0, 0.0], 1.0),
        ("anypo-shout:shout", [2.0, 0.0], 1.0),
        ("anypo_shout:shout:?", [0.0, 1.0], 1.0),
        ("anypo-shout:shout=-1:a:b", [1.0, 0.0], -1.0),
    ],
)
def test_a_reward_of_a_third_party_is_found_by_its_name(shout, spec, scores, weight):
    shout()
    reward = load_reward(spec)
    assert (reward.name, reward.weight) == ("shout", weight)
    assert reward.function(**TEXTS) == scores


def test_of_two_with_one_name_the_full_one_chooses(shout):
    shout("anypo-shout", "anypo-cry")
    offered = "reward 'shout' is offered by anypo-cry 1.0 and anypo-shout 1.0; choose with 'anypo-c"
    with pytest.raises(PluginError, match=offered):
        load_reward("shout:?")
    assert load_reward("anypo-cry:shout:?").function(**TEXTS) == [0.0, 1.0]


def test_what_a_reward_says_of_its_argument_is_said(shout):
    shout()
    with pytest.raises(RewardError, match=r"^reward 'shout' counts no '='$"):
        load_reward("shout:=")


def test_a_misspelt_reward_of_a_third_party_names_the_nearest(shout):
    shout()
    with pytest.raises(RewardError, match="there is no reward 'shuot'; did you mean 'shout'"):
        load_reward("shuot")


def test_a_broken_or_disabled_reward_says_so(install, shout, monkeypatch):
    others = {"anypo.rewards": {"whisper": "nowhere:whisper"}}
    install("anypo-whisper", {}, {}, others=others)
    with pytest.raises(
        PluginError, match=r"^reward 'whisper' of anypo-whisper 1\.0 is broken: Mod"
    ):
        load_reward("whisper:x")
    shout()
    monkeypatch.setenv("ANYPO_DISABLE_PLUGINS", "shout")
    with pytest.raises(
        PluginError, match=r"reward 'shout' of anypo-shout 1\.0 is disabled by 'shout'"
    ):
        load_reward("shout")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("def odd(): pass", r"is broken: TypeError: odd\(\) takes 0 positional arguments"),
        ("def odd(argument): return 3", "makes 3, which is no function"),
        ("def odd(argument): raise KeyError('x')", "is broken: KeyError: 'x'"),
    ],
)
def test_a_broken_reward_of_a_package_is_one_line_that_names_it(install, body, reason):
    install("anypo-odd", {}, {"odd.py": body}, others={"anypo.rewards": {"odd": "odd:odd"}})
    with pytest.raises(PluginError, match=f"^reward 'odd' of anypo-odd 1.0 {reason}"):
        load_reward("odd")


def test_ones_own_file_or_module_wins_over_a_reward_that_is_called_alike(
    install, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    body = "def make(argument):\n    raise AssertionError\n"
    names = {"score_py": "odd:make", "my.mod": "odd:make"}
    install("anypo-odd", {}, {"odd.py": body}, others={"anypo.rewards": names})
    own = "def f(completions, **_):\n    return [1.0 for _ in completions]\n"
    (tmp_path / "score.py").write_text(own)
    (tmp_path / "my").mkdir()
    (tmp_path / "my" / "mod.py").write_text(own)
    assert load_reward("score.py:f").function(completions=["a"]) == [1.0]
    assert load_reward("my.mod:f").function(completions=["a"]) == [1.0]


def test_an_import_that_does_not_end_is_interrupted(tmp_path, monkeypatch):
    (tmp_path / "endless.py").write_text("while True:\n    pass\n")
    limit = r"^importing reward '.*endless\.py:f' took longer than 0\.2 s; raise reward_timeout"
    with pytest.raises(RewardError, match=limit):
        load_reward(f"{tmp_path / 'endless.py'}:f", timeout=0.2)


def test_so_is_that_of_an_installed_one(install):
    source = "import time\ntime.sleep(60)\ndef f(argument):\n    return len\n"
    install(
        "anypo-slow", {}, {"slow_one.py": source}, others={"anypo.rewards": {"slow": "slow_one:f"}}
    )
    with pytest.raises(RewardError, match=r"^importing reward 'slow' took longer than 0\.2 s"):
        load_reward("slow", timeout=0.2)
