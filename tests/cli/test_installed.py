"""Whatever else is installed, every command works, and what is wrong is named."""

import json
from pathlib import Path

import pytest

from anypo import HOOK_API_VERSION
from anypo_cli.app import main

PLUGIN = '''\
from anypo import Plugin, hookimpl


class Lamprey(Plugin):
    """It holds on."""

    hold: float = 1.0

    @hookimpl(wrapper=True)
    def clip(self):
        """hold gain; as below."""
        return self.hold * (yield)
'''
NEWER = (
    PLUGIN.replace("    hold:", '    hook_api = "99.0"\n    hold:') + "\nfrom anypo import magic\n"
)
BAD = {  # entry points, module, status in the list, what naming it says
    "broken": (
        {"lamprey": "lamprey_module:Lamprey"},
        "import absent_package\n" + PLUGIN,
        "broken",
        "plugin 'lamprey' of anypo-lamprey 0.3 is broken: ModuleNotFoundError",
    ),
    "raising": (
        {"lamprey": "lamprey_module:Lamprey"},
        PLUGIN + "\nraise RuntimeError('out of water')\n",
        "usable",  # that can only be told by running it
        "plugin 'lamprey' of anypo-lamprey 0.3 is broken: RuntimeError: out of water",
    ),
    "rival": (
        {"grpo": "lamprey_module:Lamprey"},
        PLUGIN,
        "ambiguous",
        "plugin 'grpo' is offered by anypo 0.1.0 and anypo-lamprey 0.3; choose with 'anypo:grpo'",
    ),
    "newer": (
        {"lamprey": "lamprey_module:Lamprey"},
        NEWER,
        "incompatible",
        "plugin 'lamprey' of anypo-lamprey 0.3 needs a newer anypo: it is written for hook API "
        f"99.0, this anypo has {HOOK_API_VERSION}; upgrade anypo",
    ),
    "misspelt stage": (
        {"lamprey": "lamprey_module:Lamprey"},
        PLUGIN.replace("def clip", "def clop"),
        "usable",
        "plugin 'lamprey' of anypo-lamprey 0.3 is broken: PluginError: Lamprey.clop answers a",
    ),
}


@pytest.fixture(params=BAD.values(), ids=BAD)
def bad(request, install):
    """Installs a plugin with something wrong; gives its name, status and what naming it says."""
    points, module, status, says = request.param
    install("anypo-lamprey", points, {"lamprey_module.py": module}, version="0.3")
    return *points, status, says


def output(capsys, *arguments):
    assert main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def error(capsys, *arguments):
    assert main(arguments) != 0
    (line,) = capsys.readouterr().err.splitlines()
    return line


def listed(capsys, name, *options):
    plugins = json.loads(output(capsys, "list", "--json", *options))
    return [plugin for plugin in plugins if plugin["name"] == name]


@pytest.mark.parametrize(
    "command",
    [
        ["--help"],
        ["list"],
        ["list", "--json"],
        ["list", "--check"],
        ["explain", "rloo"],
        ["explain", "dapo"],
        ["diff", "rloo", "gspo"],
        ["run", "--help"],
        ["run", "rloo", "--help"],
    ],
    ids=" ".join,
)
def test_a_bad_plugin_leaves_every_other_command_working(bad, capsys, command):
    assert output(capsys, *command)


def test_a_bad_plugin_is_listed_with_its_distribution(bad, capsys):
    name, status, says = bad
    (plugin,) = (p for p in listed(capsys, name) if p["distribution"] == "anypo-lamprey")
    assert plugin["status"] == status
    assert plugin["version"] == "0.3"
    (checked,) = (p for p in listed(capsys, name, "--check") if p["distribution"] != "anypo")
    assert checked["status"] != "usable"
    assert checked["problem"].split("ModuleNotFoundError")[0] in f"{says} {checked['problem']}"
    lines = output(capsys, "list", "--check").splitlines()
    (line,) = (x for x in lines[lines.index("anypo-lamprey 0.3") :] if x.split()[:1] == [name])
    assert f"{checked['status']}: " in line


@pytest.mark.parametrize("command", [["explain"], ["run"], ["diff", "rloo"]], ids=" ".join)
def test_naming_a_bad_plugin_says_whose_it_is(bad, capsys, command):
    name, _, says = bad
    assert says in error(capsys, *command, name)


def test_a_rival_can_be_chosen_by_its_full_name(install, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    points, module, *_ = BAD["rival"]
    install("anypo-lamprey", points, {"lamprey_module.py": module}, version="0.3")
    assert "anypo_plugins/policy_gradient/grpo.py" in output(capsys, "explain", "anypo:grpo")
    told = output(capsys, "explain", "anypo:grpo", "anypo-lamprey:grpo", "--json")
    stack = [layer["plugin"] for layer in json.loads(told)["stack"]]
    assert stack == ["anypo:grpo", "anypo-lamprey:grpo"]


def test_a_rival_may_extend_what_it_rivals_and_its_run_can_be_repeated(
    install, tmp_path, quick_cache, capsys, monkeypatch
):
    module = PLUGIN.replace("    hold:", '    extends = ("anypo:grpo",)\n    hold:')
    install("anypo-lamprey", {"grpo": "lamprey_module:Lamprey"}, {"lamprey_module.py": module})
    monkeypatch.chdir(tmp_path)
    options = ["--steps", "1", "--prompts-per-step", "1", "--group-size", "2"]
    assert main(["run", "anypo-lamprey:grpo", *options]) == 0
    (config,) = tmp_path.glob("runs/anypo-lamprey.grpo-*/config.toml")
    assert main(["run", "--config", str(config), "--output", "again"]) == 0
    assert Path("again/config.toml").read_text() == config.read_text()


def test_installing_a_plugin_runs_none_of_its_code_until_it_is_named(install, tmp_path, capsys):
    ran = tmp_path / "ran"
    module = f"from pathlib import Path\n\nPath({str(ran)!r}).touch()\n{PLUGIN}"
    files = {"lamprey/__init__.py": module, "lamprey/swim.py": module}
    install("anypo-lamprey", {"lamprey": "lamprey.swim:Lamprey"}, files)
    assert "lamprey" in output(capsys, "list")
    assert "anypo-lamprey" in output(capsys, "list", "--json")
    for others in (["explain", "rloo"], ["run", "rloo", "--help"], ["run", "--help"], ["--help"]):
        assert output(capsys, *others)
    assert not ran.exists()
    assert output(capsys, "explain", "rloo", "lamprey")
    assert ran.exists()


def test_the_json_of_the_list_tells_all_that_the_list_does(capsys):
    (plugin,) = listed(capsys, "dapo")
    assert plugin == {
        "name": "dapo",
        "kind": "algorithm",
        "distribution": "anypo",
        "version": "0.1.0",
        "class": "anypo_plugins.policy_gradient.dapo:DAPO",
        "summary": plugin["summary"],
        "status": "usable",
        "problem": "",
        "family": "policy_gradient",
        "extends": ["grpo"],
        "changes": "grpo: rollout, weight; group_size=16, clip_high=0.28, kl_coef=0.0",
    }
    assert plugin["summary"].startswith("GRPO that explores more")


def test_the_json_of_an_explanation_tells_all_that_the_explanation_does(capsys):
    told = json.loads(output(capsys, "explain", "dapo+tis", "--set", "group_size=4", "--json"))
    assert told.keys() == {"name", "stack", "answers", "knobs", "requires", "inputs"}
    assert told["name"] == "dapo+tis"
    assert [layer["plugin"] for layer in told["stack"]] == ["grpo", "dapo", "tis"]
    assert [a["plugin"] for a in told["answers"] if a["stage"] == "clip"] == ["tis", "grpo"]
    assert told["answers"][0].keys() == {"stage", "plugin", "wraps", "formula", "source"}
    knobs = {knob["name"]: knob for knob in told["knobs"]}
    assert knobs["group_size"]["value"] == 4
    assert knobs["group_size"]["origin"] == "set by you"
    assert knobs["clip_high"]["description"]
    assert knobs["clip_high"]["active"]
    assert not knobs["kl_estimator"]["active"]
    assert told["requires"] == ["old_logprobs", "sampler_logprobs"]
    assert told["inputs"] == {
        "sampler": True,
        "scorer": True,
        "completions": [],
        "columns": [],
        "otherwise": False,
        "fixed": False,
    }


def test_the_json_of_what_learns_from_a_data_set_names_its_columns(capsys):
    told = json.loads(output(capsys, "explain", "dpo", "--json"))
    assert told["inputs"]["completions"] == ["chosen", "rejected"]
    assert told["inputs"]["fixed"]


def test_a_disabled_plugin_is_listed_as_such(install, capsys, monkeypatch):
    install("anypo-lamprey", {"lamprey": "lamprey_module:Lamprey"}, {"lamprey_module.py": PLUGIN})
    monkeypatch.setenv("ANYPO_DISABLE_PLUGINS", "anypo-lamprey:*,grpo")
    (plugin,) = listed(capsys, "lamprey")
    assert plugin["status"] == "disabled"
    assert plugin["problem"] == "by 'anypo-lamprey:*' in ANYPO_DISABLE_PLUGINS"
    lines = output(capsys, "list").splitlines()
    assert sum("disabled: by" in line for line in lines) == 2
    assert "'grpo' of anypo 0.1.0 is disabled by 'grpo'" in error(capsys, "run", "grpo")
    assert output(capsys, "explain", "rloo")


def test_disabling_what_is_not_installed_is_said_once_and_stops_nothing(capsys, monkeypatch):
    monkeypatch.setenv("ANYPO_DISABLE_PLUGINS", "gropo")
    assert main(["explain", "rloo"]) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("note: ANYPO_DISABLE_PLUGINS names 'gropo', which is not installed")


def test_an_error_on_the_command_line_names_distribution_and_line(install, capsys):
    module = PLUGIN.replace("self.hold *", "0 / 0 *")
    install("anypo-lamprey", {"lamprey": "lamprey_module:Lamprey"}, {"lamprey_module.py": module})
    says = error(capsys, "run", "grpo+lamprey")
    assert says.startswith("error: 'clip' of plugin 'lamprey' of anypo-lamprey 1.0 failed: ZeroDiv")
    assert says.endswith("(lamprey_module.py:12)")


@pytest.fixture
def earlier(install, model_dir, tmp_path):
    """The config.toml of a run with an installed plugin."""
    install("anypo-lamprey", {"lamprey": "lamprey_module:Lamprey"}, {"lamprey_module.py": PLUGIN})
    (tmp_path / "train.jsonl").write_text('{"prompt": "ab"}\n')
    options = {
        "--model": model_dir,
        "--data": tmp_path / "train.jsonl",
        "--reward": "length",
        "--output": tmp_path / "run",
        "--steps": 1,
        "--prompts-per-step": 1,
        "--max-completion-length": 4,
        "--device": "cpu",
    }
    arguments = [str(part) for pair in options.items() for part in pair]
    assert main(["run", "grpo+lamprey", "--group-size", "2", *arguments]) == 0
    return tmp_path / "run" / "config.toml"


def repeated(capsys, config, *arguments):
    """The notes of a repeated run."""
    capsys.readouterr()
    folder = str(Path(config).parents[1] / "again")
    assert main(["run", "--config", str(config), "--output", folder, *arguments]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [line for line in lines if line.startswith("note: since") and "since step" not in line]


def test_a_repeated_run_says_nothing_if_nothing_has_changed(earlier, capsys):
    assert repeated(capsys, earlier, "--hold", "2") == []


def test_a_repeated_run_names_what_has_changed(earlier, capsys, tmp_path):
    (tmp_path / "site" / "lamprey_module.py").write_text(PLUGIN + "# another\n")
    lock = earlier.with_name("plugins.lock.json")
    content = json.loads(lock.read_text())
    content["versions"]["torch"] = "1.0"
    lock.write_text(json.dumps(content))
    plugin, torch = repeated(capsys, earlier)
    assert "plugin 'lamprey' of anypo-lamprey 1.0: the file that defines it has changed" in plugin
    assert ": torch is " in torch
    assert torch.endswith(", it was 1.0")


def test_repeating_a_run_whose_plugin_is_gone_says_what_to_install(earlier, capsys, install):
    (info,) = earlier.parents[1].glob("site/*.dist-info")
    (info / "entry_points.txt").unlink()
    (info / "METADATA").unlink()
    info.rmdir()
    install.forget()
    says = error(capsys, "run", "--config", str(earlier))
    assert "there is no plugin 'lamprey'" in says
    assert says.endswith("was made with anypo-lamprey 1.0")
