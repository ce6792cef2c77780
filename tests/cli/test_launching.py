"""Runs in several processes, started as users start them."""

import json
import os
import subprocess
import sys
import time

import pytest
import torch
from accelerate import debug_launcher
from safetensors.torch import load_file

from anypo_cli import main
from anypo_cli.launching import launch

REWARD = """
import os, signal
calls = 0

def score(completions, **_):
    global calls
    calls += 1
    if calls > 1 and os.environ["RANK"] == os.environ["FAILS"]:
        {}
    return [float(len(text)) for text in completions]
"""
RUN = ["grpo", "--steps", "2", "--prompts-per-step", "4", "--group-size", "2"]
RUN += ["--max-completion-length", "8"]


@pytest.fixture
def anypo(quick_cache, tmp_path):
    """Runs a command line, and gives its status, what it prints, and its errors."""

    def anypo(*arguments, launcher=(sys.executable,), **environment):
        told = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", **os.environ, **environment}
        command = [*launcher, "-m", "anypo_cli", "run", *RUN, *arguments, "--output", "run"]
        done = subprocess.run(command, env=told, cwd=tmp_path, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    return anypo


TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


def test_a_run_of_two_processes_looks_like_one(anypo, tmp_path):
    status, told, _ = anypo("--processes", "2", launcher=TORCHRUN)
    assert status == 0
    assert told.count("step 2/2") == told.count("run directory: run") == 1
    assert [row["step"] for row in metrics_in(tmp_path / "run")] == [0, 1, 2]
    weights = load_file(tmp_path / "run/model/model.safetensors")
    assert all(weight.isfinite().all() for weight in weights.values())


def test_a_process_that_is_gone_ends_the_other_with_one_message(anypo, tmp_path):
    does = "os.kill(os.getpid(), signal.SIGKILL)"
    (tmp_path / "rewards.py").write_text(REWARD.format(does), encoding="utf-8")
    arguments = ("--processes", "2", "--sharding", "fsdp", "--reward", "rewards.py:score")
    status, _, errors = anypo(*arguments, FAILS="1")
    assert status == 137
    assert_both_end_with_one_message(errors, "another process of the run is gone", tmp_path)


def test_what_goes_wrong_in_one_process_ends_both_with_one_message(
    quick_cache, tmp_path, monkeypatch, capfd
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAILS", "1")
    does = "raise ValueError('bad luck')"
    (tmp_path / "rewards.py").write_text(REWARD.format(does), encoding="utf-8")
    arguments = ("--processes", "2", "--reward", "rewards.py:score", "--output", "run")
    in_two_forks(["run", *RUN, *arguments], status=1)
    says = "reward 'score' raised ValueError: bad luck"
    assert_both_end_with_one_message(capfd.readouterr().err, says, tmp_path)


def assert_both_end_with_one_message(errors, says, folder):
    assert errors.count("error:") == 1
    assert says in errors
    assert "the model so far is in run/model" in errors
    assert load_file(folder / "run/model/model.safetensors")
    assert "Traceback" not in errors


def test_the_status_is_that_of_the_process_that_failed(tmp_path, monkeypatch):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexit $((3 * RANK))\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert [launch(processes, ["run"]) for processes in (1, 2)] == [0, 3]


REFUSED = {  # what is in the environment, what is asked for, and what is said
    "nobody started them": ({"WORLD_SIZE": "2"}, (), "no launcher says which process this is"),
    "fewer were started": (
        {"RANK": "0", "WORLD_SIZE": "1"},
        ("--processes", "2"),
        "2 processes are asked for, but 1 started",
    ),
    "nobody to share with": ({}, ("--sharding", "fsdp"), "set processes too (--processes)"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_was_started_is_checked(quick_cache, tmp_path, monkeypatch, capsys, case):
    environment, arguments, says = REFUSED[case]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["run", *RUN, *arguments, "--output", str(tmp_path / "run")]) == 1
    assert says in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_a_signal_ends_both_processes_and_both_go_on(quick_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    several = ["run", *RUN, "--processes", "2", "--sharding", "fsdp", "--steps", "4"]
    command = [sys.executable, "-m", "anypo_cli", *several, "--output", "run"]
    lines = tmp_path / "run/metrics.jsonl"
    with subprocess.Popen(command, stderr=subprocess.PIPE) as run:
        while not (lines.exists() and len(lines.read_text().splitlines()) > 1):
            assert run.poll() is None
            time.sleep(0.02)
        run.terminate()
        _, errors = run.communicate()
    assert run.returncode == 143, errors
    assert errors.count(b"ending after this step") == errors.count(b"stopped by SIGTERM") == 1
    assert len(lines.read_text().splitlines()) - 1 < 4
    in_two_forks(["run", "--resume", "run"])
    in_two_forks([*several, "--output", "in-peace"])
    assert metrics_in(tmp_path / "run") == metrics_in(tmp_path / "in-peace")
    one, other = (tmp_path / name / "model/model.safetensors" for name in ("run", "in-peace"))
    assert one.read_bytes() == other.read_bytes()


def in_two_forks(arguments, status=0):
    """Run the command line in processes that need not import anything."""
    debug_launcher(end_with, (status, arguments), num_processes=2)


def end_with(status, arguments):
    # As launchers of users say it.
    os.environ |= {"RANK": str(torch.distributed.get_rank()), "OMP_NUM_THREADS": "1"}
    assert main(arguments) == status


def metrics_in(folder):
    """Those of every step, without timings."""
    timings = ("seconds/", "tokens_per_second")
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in row.items() if not k.startswith(timings)} for row in rows]
