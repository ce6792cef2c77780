"""`anypo list` and `anypo explain` of every kind of plugin."""

import gc
import json
import re

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


def test_what_stands_on_what_is_read_for_algorithms_alone(monkeypatch, capsys):
    monkeypatch.delattr("anypo_cli.listing.anatomies")
    assert "addition" in output(capsys, "list", "--kind", "task")


def test_garbage_is_looked_for_again_afterwards(capsys):
    output(capsys, "list", "--kind", "task")
    assert gc.isenabled()


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


def test_algorithms_stand_below_the_title_of_their_folder(install, capsys):
    install("anypo-eel", {"eel": "eel:Eel"}, {"eel.py": 'class Eel:\n    """A fish."""\n'})
    files = {"pond/__init__.py": "", "pond/fish/__init__.py": '"""Fish."""\n'}
    files["pond/fish/cod.py"] = 'class Cod:\n    """Another."""\n'
    install("anypo-pond", {"cod": "pond.fish.cod:Cod"}, files)
    lines = [line.rstrip() for line in output(capsys, "list").splitlines()]
    (dapo,) = (line for line in lines if line.startswith("dapo "))
    assert re.search(r" grpo: rollout, weight; group_size=16, .*kl_coef=0.0 +GRPO that exp", dapo)
    blocks = [block.splitlines() for block in "\n".join(lines).split("\n\n")]
    titles = {line.split()[0]: block[0] for block in blocks for line in block[1:]}
    assert titles["grpo"].startswith("policy_gradient: Algorithms that sample")
    assert titles["dpo"].startswith("preference: ")
    assert lines[lines.index("anypo-eel 1.0") + 1].split() == ["eel", "A", "fish."]
    assert lines[lines.index("fish: Fish.") + 1].split() == ["cod", "Another."]
    assert [p["family"] for p in listed(capsys) if p["name"] in ("cod", "eel")] == ["fish", ""]


def test_a_line_is_cut_short_on_a_terminal_only(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    whole = output(capsys, "list")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    cut = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in output(capsys, "list").splitlines()]
    assert max(map(len, cut)) == 80
    assert len(cut) == len(whole.splitlines())
    assert "skips prompts that teach nothing." in whole


@pytest.mark.parametrize(
    ("words", "finds", "notes"),
    [
        (["--search", "bias", "length"], ["dr_grpo"], ""),
        (["length", "bias"], ["dr_grpo"], ""),
        (["--search", "two biases"], ["dr_grpo"], ""),
        (["--search", "2503.20783"], ["dr_grpo"], ""),
        (["--search", "lenght bias"], ["dr_grpo"], "no plugin says 'lenght'; this is what says"),
        (["--search", "zzzzzz qqqqqq"], [], "no plugin says all of"),
    ],
)
def test_what_says_some_words_is_found(capsys, words, finds, notes):
    assert main(["list", "--json", "--kind", "algorithm", *words]) == 0
    said = capsys.readouterr()
    names = [plugin["name"] for plugin in json.loads(said.out)]
    assert set(finds) <= set(names)
    assert len(names) <= 3 * len(finds)  # which others may say, too
    assert notes in said.err
    assert bool(notes) == bool(said.err)


@pytest.mark.parametrize(
    ("needs", "some", "others"),
    [
        (["reference"], {"grpo", "dpo", "ipo"}, {"dapo", "orpo", "sft", "tis"}),
        (["critic"], {"ppo", "hybrid_grpo"}, {"grpo", "entropy"}),
        (["teacher"], {"opd", "gkd"}, {"grpo", "dpo"}),
        (["pairs"], {"dpo", "orpo", "reward_model"}, {"online_dpo", "kto", "grpo"}),
        (["labels"], {"kto"}, {"dpo"}),
        (["rewards"], {"grpo", "online_dpo"}, {"dpo", "sft", "dual_clip"}),
        (["reference", "rewards"], {"grpo", "online_dpo"}, {"dpo", "dapo"}),
    ],
)
def test_what_needs_something_is_found(capsys, needs, some, others):
    options = [option for need in needs for option in ("--needs", need)]
    found = {plugin["name"] for plugin in listed(capsys, *options)}
    assert some <= found
    assert not others & found


def test_what_cannot_be_needed_is_refused(capsys):
    assert "--needs kritic is nothing that is known; did you mean 'critic'" in error(
        capsys, "list", "--needs", "kritic"
    )
    assert "--needs is of algorithms, and a reward is none" in error(
        capsys, "list", "--kind", "reward", "--needs", "critic"
    )


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


def test_an_algorithm_goes_before_other_kinds_of_its_name(install, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    others = {"anypo.rewards": {"grpo": "e:grpo"}}
    install("anypo-e", {}, {"e.py": 'def grpo(argument):\n    """A reward."""\n'}, others=others)
    assert "anypo_plugins/policy_gradient/grpo.py" in output(capsys, "explain", "grpo")
    assert "A reward." in output(capsys, "explain", "grpo", "--kind", "reward")


def test_the_family_of_an_algorithm_is_shown(capsys):
    text = output(capsys, "explain", "gspo")
    _, tree = text.split("grpo  \n")
    assert tree.startswith("└── gspo  grpo: ratio, weight;")
    assert "    └── gspo_token" in tree
    told = json.loads(output(capsys, "explain", "gspo", "--json"))
    assert (told["extends"], "gspo_token" in told["extended_by"]) == (["grpo"], True)


def test_an_algorithm_on_two_stands_below_both(capsys):
    text = output(capsys, "explain", "intellect2")
    assert text.count("└── intellect2  grpo+dual_clip: group_size=16") == 2


def test_a_stack_has_no_family(capsys):
    assert "└──" not in output(capsys, "explain", "grpo+tis")
