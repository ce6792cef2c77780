"""A run ends with a report, and never fails for want of one."""

import pytest

from anypo_cli.app import main

EPILOGUE = "held out: ", "  before ", "  after ", "eval score "
QUICK = ["--steps", "1", "--prompts-per-step", "2", "--device", "cpu"]
SHOW = '''\
from pathlib import Path
from typing import Annotated

import typer


def show(runs: Annotated[list[Path], typer.Argument()]) -> None:
    """Show it."""
    ACTION
'''


@pytest.fixture
def reporter(install, monkeypatch):
    """Installs the only command that makes reports."""

    def reporter(action):
        text = SHOW.replace("ACTION", action)
        install(
            "anypo-seer", {}, {"seer.py": text}, others={"anypo.commands": {"show": "seer:show"}}
        )
        monkeypatch.setenv("ANYPO_DISABLE_PLUGINS", "anypo:show")

    return reporter


@pytest.fixture
def ended(quick_cache, tmp_path, capsys):
    """What a run, whose status is 0, says of its report."""

    def ended():
        assert main(["run", "grpo", *QUICK, "--output", str(tmp_path / "run")]) == 0
        captured = capsys.readouterr()
        assert captured.err == ""
        lines = captured.out.partition("step 1/1")[2].partition("run directory: ")[0].splitlines()
        return [line for line in lines[1:] if not line.startswith(EPILOGUE)]

    return ended


def test_a_run_ends_with_a_report(ended, tmp_path):
    (line,) = ended()
    assert line == f"report: {tmp_path / 'run' / 'report.html'}"
    assert (tmp_path / "run" / "report.html").read_text().startswith("<!doctype html>")


def test_another_package_may_make_it(reporter, ended, tmp_path):
    reporter("print('seen:', *runs)")
    assert ended() == [f"seen: {tmp_path / 'run'}"]


@pytest.mark.parametrize(
    ("action", "says"),
    [
        ("raise ValueError('blind')", "ValueError: blind"),
        ("raise BaseException('panic')", "BaseException: panic"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_report_that_fails_is_a_note(reporter, ended, action, says):
    reporter(action)
    assert ended() == [f"note: there is no report of the run: {says}"]


def test_without_what_it_needs_a_run_says_how_to_get_it(ended, monkeypatch):
    monkeypatch.setattr("anypo.support.extras.find_spec", lambda name: None)
    (line,) = ended()
    assert line.startswith("note: there is no report of the run: ")
    assert line.endswith("pip install 'anypo[report]'")


def test_where_nobody_makes_reports_there_is_none(ended, monkeypatch):
    monkeypatch.setenv("ANYPO_DISABLE_PLUGINS", "show")
    assert ended() == []
