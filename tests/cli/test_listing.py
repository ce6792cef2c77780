"""`anypo list` and `anypo explain` of every kind of plugin."""

import json

import pytest

from anypo.hooks.registry import KINDS
from anypo_cli.app import main

ECHO = '''\
from pathlib import Path

from anypo import SamplerPlugin
from pydantic import Field

Path(RAN).touch()


class Echo(SamplerPlugin):
    """It says the same again.

    And again.
    """

    volume: float = Field(2.5, gt=0, description="How loud.")
    mode: str | None = Field(None, description="Where.")

    def start(self, model, runtime, max_length):
        raise NotImplementedError
'''
OTHERS = {"anypo.samplers": {"echo": "echo_module:Echo"}}


@pytest.fixture
def echo(install, tmp_path):
    """A sampler of a third party; gives the file that shows that it was imported."""
    source = ECHO.replace("RAN", repr(str(tmp_path / "ran")))
    install("anypo-echo", {}, {"echo_module.py": source}, others=OTHERS)
    return tmp_path / "ran"


def output(capsys, *arguments):
    assert main(arguments) == 0
    return capsys.readouterr().out


def error(capsys, *arguments):
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    return line


def listed(capsys, *options):
    return json.loads(output(capsys, "list", "--json", *options))


# -- list ----------------------------------------------------------------------------------------


def test_every_kind_is_listed_under_its_heading(echo, capsys):
    lines = [line.strip() for line in output(capsys, "list").splitlines()]
    headings = [f"{kind}s" for kind in KINDS]
    assert [line for line in lines if line in headings] == headings
    (line,) = (line for line in lines if line.startswith("echo "))
    assert lines.index("samplers") < lines.index(line) < lines.index("rewards")
    assert line.split()[:3] == ["echo", "anypo-echo", "1.0"]
    assert line.endswith("It says the same again.")
    assert not echo.exists()


@pytest.mark.parametrize("kind", KINDS)
def test_one_kind_can_be_listed(echo, capsys, kind):
    plugins = listed(capsys, "--kind", kind)
    assert {plugin["kind"] for plugin in plugins} == {kind}
    assert plugins == [plugin for plugin in listed(capsys) if plugin["kind"] == kind]
    assert ("echo" in [plugin["name"] for plugin in plugins]) == (kind == "sampler")


def test_a_broken_plugin_of_another_kind_is_listed_as_such(install, capsys):
    install("anypo-echo", {}, {"echo_module.py": "import absent_package\n" + ECHO}, others=OTHERS)
    (plugin,) = (plugin for plugin in listed(capsys) if plugin["name"] == "echo")
    assert plugin["status"] == "broken"
    assert "absent_package" in plugin["problem"]


@pytest.mark.parametrize("command", [["list"], ["explain", "grpo"]])
def test_there_is_no_such_kind(capsys, command):
    says = error(capsys, *command, "--kind", "samplr")
    assert "there is no kind 'samplr' of plugin; did you mean 'sampler'" in says


# -- explain -------------------------------------------------------------------------------------


def test_a_sampler_is_explained_with_its_options(echo, capsys):
    text = output(capsys, "explain", "echo")
    assert "echo: a sampler of anypo-echo 1.0" in text
    assert "And again." in text
    (line,) = (line for line in text.splitlines() if line.startswith("echo_volume"))
    assert line.split() == ["echo_volume", "2.5", "How", "loud."]
    assert "echo_module:Echo" in text
    assert echo.exists()


def test_the_json_of_a_sampler_tells_the_same(echo, capsys):
    told = json.loads(output(capsys, "explain", "echo", "--json"))
    assert told["options"] == [
        {"name": "echo_volume", "default": 2.5, "description": "How loud."},
        {"name": "echo_mode", "default": None, "description": "Where."},
    ]
    assert (told["name"], told["kind"], told["package"]) == ("echo", "sampler", "anypo-echo 1.0")
    assert told["class"] == "echo_module:Echo"


@pytest.mark.parametrize(
    ("name", "kind"), [("exact", "reward"), ("addition", "task"), ("serve", "command")]
)
def test_what_has_no_options_is_explained_by_its_documentation(capsys, name, kind):
    assert f"{name}: a {kind} of anypo " in output(capsys, "explain", name)
    assert json.loads(output(capsys, "explain", name, "--json"))["documentation"]


def test_a_task_says_what_options_suit_its_model(capsys):
    declares = json.loads(output(capsys, "explain", "addition", "--json"))["declares"]
    assert declares["reward"] == ["exact"]
    assert declares["options"]["learning_rate"] == 5e-4


def test_of_several_kinds_with_one_name_the_kind_is_said(install, capsys):
    others = {"anypo.rewards": {"exact": "e:exact"}, "anypo.tasks": {"length": "e:length"}}
    text = 'def exact(argument):\n    """Theirs."""\n\n\ndef length():\n    """A task."""\n'
    install("anypo-e", {}, {"e.py": text}, others=others)
    assert "'length' is a reward and a task; choose with --kind" in error(
        capsys, "explain", "length"
    )
    assert "A task." in output(capsys, "explain", "length", "--kind", "task")
    assert "reward 'exact' is offered by anypo 0.1.0 and anypo-e" in error(
        capsys, "explain", "exact"
    )
    assert "Theirs." in output(capsys, "explain", "anypo-e:exact")


def test_an_algorithm_goes_before_other_kinds_of_its_name(install, capsys):
    others = {"anypo.rewards": {"grpo": "e:grpo"}}
    install("anypo-e", {}, {"e.py": 'def grpo(argument):\n    """A reward."""\n'}, others=others)
    assert "anypo_plugins/policy_gradient/grpo.py" in output(capsys, "explain", "grpo")
    assert "A reward." in output(capsys, "explain", "grpo", "--kind", "reward")
