"""Runs that a signal ends, and that go on, on the command line."""

import json

import pytest

from anypo_cli.app import main

REWARD = """
import os, signal
calls = []


def score(completions, **_):
    calls.append(1)
    if len(calls) == 2 and os.environ.get("ENDED_BY"):
        os.kill(os.getpid(), getattr(signal, os.environ["ENDED_BY"]))
    return [float(len(text)) for text in completions]
"""


@pytest.fixture
def arguments(letters, model_dir, tmp_path):
    """Those of a short run, whose reward may send a signal in the second step."""
    (tmp_path / "reward.py").write_text(REWARD)
    options = {
        "model": model_dir,
        "data": letters["data"],
        "reward": letters["reward"][0],
        "output": letters["output"],
        "steps": 3,
        "prompts-per-step": 1,
        "max-completion-length": 4,
        "device": "cpu",
        "warmup-steps": 0,
    }
    return ["run", "grpo", *(text for k, v in options.items() for text in (f"--{k}", str(v)))]


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_run_that_a_signal_ends_says_how_to_go_on_and_does(
    arguments, letters, capsys, monkeypatch, name, status
):
    monkeypatch.setenv("ENDED_BY", name)
    assert main(arguments) == status
    said = capsys.readouterr()
    folder = letters["output"]
    line = f"stopped by {name} after step 2 of 3; `anypo run --resume {folder}` goes on from step 2"
    told = [text for text in (said.out + said.err).splitlines() if "stopped" in text]
    assert told == [line if name == "SIGINT" else f"error: {line}"]
    monkeypatch.delenv("ENDED_BY")
    assert main(["run", f"--resume={folder}", "--steps", "4"]) == 0
    said = capsys.readouterr().out
    assert f"run directory: {folder}" in said
    assert [text.split()[1] for text in said.splitlines() if text.startswith("step")] == [
        "3/4",
        "4/4",
    ]
    with open(f"{folder}/metrics.jsonl", encoding="utf-8") as file:
        assert [json.loads(row)["step"] for row in file] == [1, 2, 3, 4]
    assert main(["run", "--resume", folder]) == 0
    assert f"note: '{folder}' is finished: all 4 steps are done" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--learning-rate", "1"], "'--learning-rate' is given"),
        (["--set", "kl_coef=1"], "'--set' is given"),
        (["--kl-coef=1"], "'--kl-coef' is given"),
        (["--output", "other"], "'--output' is given"),
    ],
)
def test_what_a_run_says_itself_is_refused_by_name(tmp_path, capsys, given, named):
    assert main(["run", "--resume", str(tmp_path), *given]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {named}")
    assert "only --keep-best, --keep-checkpoints, --processes, --save-every, " in error
    assert main(["run", "grpo", "--resume", str(tmp_path)]) == 1
    assert "'grpo' is given" in capsys.readouterr().err


def test_a_directory_that_holds_no_run_is_refused(tmp_path, capsys):
    assert main(["run", "--resume", str(tmp_path)]) == 1
    assert "holds no run to go on with: it has no config.toml" in capsys.readouterr().err


def test_the_help_shows_what_may_change(capsys):
    assert main(["run", "--resume", "x", "--help"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in ("--resume", "--steps", "--keep-checkpoints"))
    assert "--learning-rate" not in said
    assert main(["run", "--help"]) == 0
    assert "anypo run --resume DIR" in " ".join(capsys.readouterr().out.split())
