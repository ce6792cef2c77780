"""Environments are found by name, or in a file."""

import pytest

from anypo import Turn
from anypo.errors import ConfigError, PluginError
from anypo.sampling.load import load_environment

ECHO = '''\
from anypo import Environment, Turn


class Echo(Environment):
    """Says what the policy says."""

    task = "echoing"

    def step(self, message):
        return Turn(message["content"])


class Factory:
    """For TRL."""

    def reset(self, **row):
        return "go"

    def look(self):
        """Look."""


class Gym(Factory):
    """Nobody knows for whom."""

    def step(self, message):
        return "more"


class Mute:
    """Does nothing."""

    def reset(self):
        return None


def speak():
    """No environment."""
'''


@pytest.fixture
def offered(install):
    """An installed environment, and what is none."""
    points = {"echo": "echo_module:Echo", "speak": "echo_module:speak"}
    others = {"anypo.environments": points}
    return install("anypo-echo", {}, {"echo_module.py": ECHO}, others=others)


def test_one_that_is_installed_is_found_by_its_name(offered):
    for name in ("echo", "anypo-echo:echo"):
        found = load_environment(name)
        assert (str(found), found.task) == ("environment 'echo'", "echoing")
        assert found.make().step({"content": "a"}) == Turn("a")


def test_one_of_a_file_or_module_is_found(tmp_path, offered):
    file = tmp_path / "mine.py"
    file.write_text(ECHO)
    for spec in (f"{file}:Echo", "echo_module:Echo"):
        assert load_environment(spec).make().step({"content": "a"}) == Turn("a")


def test_a_class_for_trl_is_known_by_its_methods(offered):
    assert load_environment("echo_module:Factory").is_of_trl
    assert not load_environment("echo_module:Echo").is_of_trl


@pytest.mark.parametrize(
    ("spec", "error", "says"),
    [
        ("ecko", PluginError, "^there is no environment 'ecko'; did you mean 'echo'?; name your"),
        ("speak", PluginError, "^environment 'speak' of anypo-echo 1.0 is no anypo.Environment"),
        ("echo_module:speak", PluginError, "^environment 'echo_module:speak' is no anypo.Env"),
        (
            "echo_module:Gym",
            PluginError,
            "is no anypo.Environment, and none .* as it has `step`, t",
        ),
        ("echo_module:Mute", PluginError, "as it has no other public method: derive it from anypo"),
        ("echo_module:Ecko", ConfigError, "^environment 'echo_module' defines no function 'Ecko'"),
        ("none.py:Echo", ConfigError, "^environment 'none.py:Echo' cannot be imported"),
    ],
)
def test_what_is_none_is_refused(offered, spec, error, says):
    with pytest.raises(error, match=says.replace("?;", r"\?;")):
        load_environment(spec)
