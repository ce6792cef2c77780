"""Code and texts of others: a run that they stop is a failure, and no terminal obeys them."""

import json
import os
import signal
import subprocess
import sys
import time
from multiprocessing import get_context

import pytest

from anypo_cli.app import main

ANSI = "\x1b[31m"
LAMPREY = '''\
from anypo import Plugin, hookimpl
from pydantic import Field


class Lamprey(Plugin):
    """It holds [/b] on. \x1b[31m"""

    hold: float = Field(1.0, description="How [/b] hard. \x1b[31m")

    @hookimpl(wrapper=True)
    def weight(self, batch):
        CODE
        return self.hold * (yield)
'''


@pytest.fixture
def attach(install):
    """Installs a plugin with a name like markup, that runs some code in a hook."""

    def attach(code="pass", name="lam[/b]prey"):
        files = {"lamprey_module.py": LAMPREY.replace("CODE", code)}
        install("anypo-lamprey", {name: "lamprey_module:Lamprey"}, files)

    return attach


@pytest.fixture
def arguments(tmp_path, model_dir):
    """The command line of a short run with a reward function of some code."""

    def arguments(code, algorithm="rloo", **more):
        (tmp_path / "train.jsonl").write_text('{"prompt": "ab"}\n{"prompt": "cd"}\n')
        (tmp_path / "reward.py").write_text(
            "import os, sys, torch\nCALLS = []\ndef score(completions, **_):\n"
            f"    CALLS.append(1)\n    {code}\n    return [float(len(c)) for c in completions]\n"
        )
        options = {
            "model": model_dir,
            "data": tmp_path / "train.jsonl",
            "reward": f"{tmp_path / 'reward.py'}:score",
            "output": tmp_path / "run",
            "steps": 2,
            "prompts_per_step": 2,
            "max_completion_length": 6,
            "device": "cpu",
            **more,
        }
        given = [(f"--{name.replace('_', '-')}", str(value)) for name, value in options.items()]
        return ["run", algorithm, *(text for pair in given for text in pair)]

    return arguments


def error_of(capsys, arguments):
    assert main(arguments) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("code", ["sys.exit(0)", "sys.exit()", "raise SystemExit(3)"])
def test_a_reward_that_ends_the_process_fails_the_run(capsys, arguments, tmp_path, code):
    says = error_of(capsys, arguments(f"if len(CALLS) > 1: {code}"))
    assert "step 2: reward 'score' raised SystemExit" in says
    assert "(reward.py:5)" in says
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


def test_a_hook_that_ends_the_process_fails_the_run(capsys, arguments, attach):
    attach("if batch.max_completion_length == 6: raise SystemExit(0)", "lamprey")
    says = error_of(capsys, arguments("pass", "rloo+lamprey"))
    assert "step 1: 'weight' of plugin 'lamprey' of anypo-lamprey 1.0 failed: SystemExit" in says
    assert "(lamprey_module.py:12)" in says


def test_a_run_that_anything_else_ends_is_no_success(capsys, arguments, monkeypatch):
    def end(*_, **__):
        raise SystemExit(0)

    monkeypatch.setattr("anypo.training.learner.Learner.update", end)
    assert "ended the process" in error_of(capsys, arguments("pass"))


@pytest.mark.parametrize(
    "code",
    [
        "torch.set_default_dtype(torch.float64)",
        "torch.set_grad_enabled(False)",
        "os.chdir('/')",
        "sys.stdout = None",
    ],
)
def test_what_a_reward_changes_of_the_process_changes_no_run(
    capsys, arguments, tmp_path, code, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(arguments("pass", output="usual")) == 0
    assert main(arguments(code, output="odd")) == 0
    usual, odd = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").read_text().splitlines()]
        for name in ("usual", "odd")
    )
    for one, other in zip(usual, odd, strict=True):
        assert {k: v for k, v in one.items() if "second" not in k} == {
            k: v for k, v in other.items() if "second" not in k
        }


def test_what_nobody_expected_is_one_line(capsys, monkeypatch):
    def fail(*_, **__):
        raise LookupError(f"{ANSI}lost\n" * 100_000)

    monkeypatch.setattr("anypo_cli.listing.show_list", fail)
    says = error_of(capsys, ["list"])
    assert says.startswith("error: LookupError: lost lost ")
    assert says.endswith("a bug of anypo, or of what it ran; --debug shows the traceback")
    with pytest.raises(LookupError):
        main(["--debug", "list"])


def test_what_is_no_exception_is_one_line(capsys, monkeypatch):
    class Panic(BaseException):
        """As libraries in Rust raise it."""

    def fail(*_, **__):
        raise Panic("no way")

    monkeypatch.setattr("anypo_cli.listing.show_list", fail)
    assert "Panic: no way" in error_of(capsys, ["list"])


def test_ctrl_c_is_one_line(capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("anypo_cli.listing.show_list", interrupt)
    assert main(["list"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_ctrl_c_while_starting_is_one_line(arguments):
    code = "import sys; from anypo_cli import main; print(flush=True); sys.exit(main(sys.argv[1:]))"
    process = subprocess.Popen(
        [sys.executable, "-c", code, *arguments("pass")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    time.sleep(0.5)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert (process.returncode, errors) == (130, "interrupted\n")


STUCK = (
    "import time, signal; no = signal.SIG_IGN; len(CALLS) > 1 and (signal.signal(signal.SIGUSR2, "
    "no), signal.signal(signal.SIGPROF, no), time.sleep(99))"
)


def test_a_reward_that_nothing_interrupts_ends_the_run_and_nothing_is_lost(
    arguments, tmp_path, capfd
):
    fork = get_context("fork")  # which has imported everything
    process = fork.Process(target=main, args=[arguments(STUCK, reward_timeout=2)])
    process.start()
    process.join()
    assert process.exitcode == 1
    (line,) = [line for line in capfd.readouterr().err.splitlines() if line.startswith("error: ")]
    assert "reward 'score' took longer than 2 s, and nothing could interrupt it" in line
    assert "the model so far is in" in line
    assert (tmp_path / "run" / "model" / "model.safetensors").exists()


# -- what reaches the terminal -------------------------------------------------------------------

SHOWS = [
    ["list"],
    ["explain", "rloo", "lam[/b]prey"],
    ["diff", "rloo", "rloo+lam[/b]prey"],
    ["run", "rloo+lam[/b]prey", "--help"],
]


@pytest.mark.parametrize("command", SHOWS, ids=" ".join)
def test_names_and_texts_of_plugins_are_no_markup(attach, capsys, command):
    attach()
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "lam[/b]prey" in shown
    assert "[31m" not in shown
    assert "\x1b" not in shown


def test_what_other_kinds_say_is_no_markup(install, capsys):
    source = 'def f():\n    """Ho [/b]. \x1b[31m"""\n'
    install(
        "anypo-x", {}, {"x_module.py": source}, others={"anypo.commands": {"h[/b]o": "x_module:f"}}
    )
    for command in (["explain", "h[/b]o"], ["--help"]):
        assert main(command) == 0
        shown = capsys.readouterr().out
        assert "Ho [/b]." in shown
        assert "\x1b" not in shown


@pytest.mark.parametrize("name", ["x[/b]", "[red]z"])
def test_the_name_of_a_directory_is_no_markup(capsys, arguments, tmp_path, name):
    assert main(arguments("pass", output=tmp_path / name)) == 0
    assert name in capsys.readouterr().out.replace("\n", "")


def test_a_plugin_that_interrupts_does_not_hide_the_others(install, capsys):
    install("anypo-x", {"stopper": "stopper:X"}, {"stopper.py": "raise KeyboardInterrupt\nX = 1\n"})
    assert main(["list", "--check", "--kind", "algorithm"]) == 0
    shown = capsys.readouterr().out
    assert "broken: it was interrupted" in " ".join(shown.split())
    assert "tis" in shown
