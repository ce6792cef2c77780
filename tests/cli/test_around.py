"""What stands around a run: what is installed, what a shell completes, a plan."""

import json
import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from anypo_cli.app import main

IMPORTED = "import sys; from anypo_cli.app import main; main(sys.argv[1:]); print(*sys.modules)"


def test_versions_stand_in_one_line_and_load_nothing():
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, "--version"], capture_output=True, text=True, check=True
    )
    line, modules = done.stdout.splitlines()
    assert line.startswith(f"anypo {version('anypo')} (torch {version('torch')}, transformers ")
    assert not {"torch", "transformers"} & set(modules.split())


def test_no_garbage_is_looked_for_when_a_command_ends():
    frozen = "import atexit, gc; atexit.register(lambda: print(gc.get_freeze_count() > 0))"
    done = subprocess.run(
        [sys.executable, "-c", f"{frozen}; {IMPORTED}", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[-1] == "True"


@pytest.mark.parametrize(
    ("typed", "there"),
    [
        ("anypo ch", {"chat", "check"}),
        ("anypo run gspo", {"gspo", "gspo_token"}),
        ("anypo run grpo --lora-r", {"--lora-rank"}),
        ("anypo ser", {"serve"}),
    ],
)
def test_a_shell_completes_names(typed, there, monkeypatch, capsys):
    words = typed.split()
    monkeypatch.setitem(os.environ, "_ANYPO_COMPLETE", "complete_bash")
    monkeypatch.setitem(os.environ, "COMP_WORDS", typed)
    monkeypatch.setitem(os.environ, "COMP_CWORD", str(len(words) - 1))
    with pytest.raises(SystemExit):
        main([])
    assert set(capsys.readouterr().out.split()) == there


def test_the_script_that_completes_is_shown(capsys):
    with pytest.raises(SystemExit):
        main(["--show-completion", "bash"])
    assert "complete" in capsys.readouterr().out


def test_a_plan_is_shown_and_nothing_is_left(model_dir, letters, tmp_path, capsys):
    given = [
        item
        for name, value in {**letters, "model": model_dir, "steps": 2}.items()
        for one in (value if isinstance(value, list) else [value])
        for item in (f"--{name.replace('_', '-')}", str(one))
    ]
    assert main(["run", "grpo", *given, "--processes", "2", "--plan"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    for told in ("a frozen reference model", "2 of 4 prompts", "32 completions", "in 2 processes"):
        assert told in said
    assert not (tmp_path / "run").exists()


def test_a_plan_refuses_what_the_run_refuses(model_dir, tmp_path, capsys):
    (tmp_path / "empty.jsonl").write_text(json.dumps({"text": "?"}) + "\n")
    given = ["--model", model_dir, "--data", str(tmp_path / "empty.jsonl"), "--reward", "length"]
    given += ["--max-completion-length", "8"]
    assert main(["run", "grpo", *given, "--plan"]) == 1
    assert "has no column 'prompt'" in capsys.readouterr().err
