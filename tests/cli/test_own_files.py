"""`file.py:Class` stands wherever a plugin's name may, and a run by it can be repeated."""

import hashlib
import json
import shutil
import tomllib
from pathlib import Path

import pytest

from anypo import resume
from anypo_cli.app import main

SOFT = '''
from typing import ClassVar

from anypo import Plugin, hookimpl


class Soft(Plugin):
    """A soft clip."""

    extends: ClassVar = ("grpo",)
    kl_coef: float = 0.0
    tau: float = 1.0

    @hookimpl
    def clip(self, log_ratio, advantages):
        """tau tanh(log r / tau) A; [N, T]."""
        return self.tau * (log_ratio / self.tau).tanh() * advantages
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own").mkdir()
    Path("own/soft.py").write_text(SOFT)
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["explain", "own/soft.py:Soft"], ["tau tanh(log r / tau) A", "default of own/soft.py"]),
        (["explain", "own/soft.py+tis"], ["own/soft.py:Soft+tis"]),
        (["explain", "rloo", "--hook", "clip=own/soft.py:Soft"], ["rloo[clip=own/soft.py:Soft]"]),
        (["diff", "grpo", "own/soft.py:Soft"], ["own/soft.py:Soft: tau tanh"]),
        (["check", "own/soft.py"], ["conformance of own/soft.py:Soft"]),
        (["run", "own/soft.py:Soft", "--help"], ["--tau", "A soft clip."]),
    ],
)
def test_a_file_stands_for_a_plugin(here, capsys, arguments, words):
    assert main(arguments) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert not [word for word in words if word not in shown], shown


def test_a_class_that_is_not_there_is_one_sentence(here, capsys):
    for command in (["explain"], ["check"], ["run"], ["diff", "grpo"]):
        assert main([*command, "own/soft.py:Hard"]) == 1
        says = capsys.readouterr().err
        assert says == "error: 'own/soft.py' defines no plugin 'Hard'; there is Soft\n"


@pytest.fixture
def ran(here, letters, model_dir, capsys):
    """The directory of a short run by the file's class, and a function that runs again."""
    given = ["--model", model_dir, "--data", str(letters["data"]), "--reward", letters["reward"][0]]
    given += [
        "--device",
        "cpu",
        "--steps",
        "1",
        "--prompts-per-step",
        "2",
        "--max-completion-length",
        "4",
    ]

    def run(*arguments):
        status = main(["run", *arguments])
        return status, "".join(capsys.readouterr())

    status, says = run("own/soft.py:Soft+tis", *given, "--tau", "0.5")
    assert status == 0, says
    (folder,) = Path("runs").iterdir()
    return folder, run


def test_a_run_by_a_file_is_written_down_so_that_it_can_be_repeated(ran):
    folder, run = ran
    assert folder.name.startswith("own.soft.py.Soft+tis-")
    written = tomllib.loads((folder / "config.toml").read_text())
    assert written["algorithm"] == "own/soft.py:Soft+tis"
    assert written["knobs"]["tau"] == 0.5
    lock = json.loads((folder / "plugins.lock.json").read_text())
    (soft,) = [p for p in lock["plugins"] if p["name"] == "own/soft.py:Soft"]
    assert soft["sha256"] == hashlib.sha256(SOFT.encode()).hexdigest()
    assert soft["distribution"] is None

    config = ["--config", str(folder / "config.toml"), "--output", "again"]
    status, says = run(*config)
    assert status == 1
    assert "names code to run (algorithm = 'own/soft.py:Soft'): read it, and if you" in says
    assert run(*config, "--trust-config")[0] == 0
    again = tomllib.loads(Path("again/config.toml").read_text())
    assert again == written | {"reward": again["reward"]}


def test_what_the_command_line_names_needs_no_trust(ran):
    folder, run = ran
    letters = tomllib.loads((folder / "config.toml").read_text())["reward"][0]
    config = ["--config", str(folder / "config.toml"), "--output", "again", "--reward", letters]
    assert run("own/soft.py:Soft+tis", *config)[0] == 0
    status, says = run("rloo", *config[:-4], "--output", "other")
    assert status == 1  # what the file was written for has to be loaded to know its defaults
    assert "algorithm = 'own/soft.py:Soft'" in says


def test_a_stage_that_a_file_takes_from_code_is_not_run_unasked(ran, capsys):
    folder, run = ran
    file = folder / "config.toml"
    lines = file.read_text().replace('"own/soft.py:Soft+tis"', '"rloo"').splitlines()
    kept = [line for line in lines[: lines.index("[knobs]")] if "kl_" not in line]
    Path("swapped.toml").write_text("\n".join([*kept, "[hooks]", 'clip = "own/soft.py:Soft"']))
    Path("own/soft.py").write_text("import os\nos.mkdir('ran')\n" + SOFT)
    status, says = run("--config", "swapped.toml", "--output", "again")
    assert status == 1
    assert "names code to run (hooks.clip = 'own/soft.py:Soft')" in says
    assert not Path("ran").exists()


def test_such_a_run_goes_on_by_itself_and_says_that_the_file_has_changed(ran):
    folder, run = ran
    Path("own/soft.py").write_text(SOFT + "\n# another line\n")
    status, says = run("--resume", str(folder), "--steps", "2")
    assert status == 0, says
    assert "'own/soft.py:Soft'" in says
    assert "the file that defines it has changed" in says
    assert resume(folder, steps=2) == folder  # from Python, too
    shutil.rmtree("own")
    status, says = run("--resume", str(folder), "--steps", "3")
    assert status == 1
    assert "no file 'own/soft.py'" in says
