import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from anypo.training.trainer import Report
from anypo_cli.display import LiveDisplay, PlainDisplay

STEP = {"reward/mean": 0.5, "kl/ref": 0.01, "clip/fraction": 0.1, "length/mean": 12.0}


def watched(display):
    """The text that a run of two steps leaves."""
    with display:
        display.note("something worth saying")
        display.warming_up(1, 2)
        display.warming_up(2, 2)
        display.started(2)
        display.reported(Report(0, {"eval/score": 0.25}))
        display.reported(Report(1, STEP))
        display.reported(Report(2, STEP | {"eval/score": 0.75}))
    display.finished(Path("runs", "one"))
    return display.console.file.getvalue()


def test_plain_lines_show_every_step():
    text = watched(PlainDisplay(Console(file=StringIO(), width=120)))
    lines = text.splitlines()
    assert "step 0/2  eval 0.250" in lines
    (first,) = [line for line in lines if line.startswith("step 1/2")]
    assert "reward 0.500  kl 0.0100  clip 0.100  length 12.0" in first
    assert first.endswith("left")
    assert "\x1b" not in text


@pytest.mark.parametrize("kind", [PlainDisplay, LiveDisplay])
def test_the_outcome_is_said_at_the_end(kind):
    text = watched(kind(Console(file=StringIO(), force_terminal=kind is LiveDisplay, width=120)))
    assert "something worth saying" in text
    assert "0.250 -> 0.750" in text
    assert "runs/one" in text


def test_the_live_display_keeps_the_last_score_on_screen():
    display = LiveDisplay(Console(file=StringIO(), force_terminal=True, width=120))
    with display:
        display.started(1)
        display.reported(Report(0, {"eval/score": 0.25}))
        display.reported(Report(1, STEP))
    text = display.console.file.getvalue()
    assert "step 1/1" in text
    assert "reward 0.500  eval 0.250" in text


def test_a_score_has_the_error_that_the_samples_tell(tmp_path):
    rows = [(step, group) for step in (0, 2) for group in (0, 1)]
    lines = (
        json.dumps(
            {
                "step": step,
                "phase": "eval",
                "set": "eval",
                "group": group,
                "prompt": "?",
                "completion": "!",
                "reward": float(group),
            }
        )
        for step, group in rows
    )
    (tmp_path / "samples.jsonl").write_text("\n".join(lines))
    display = PlainDisplay(Console(file=StringIO(), width=120))
    display.remember({"eval/score": 0.25})
    display.remember({"eval/score": 0.5})
    display.finished(tmp_path)
    text = display.console.file.getvalue()
    assert "eval score 0.250 -> 0.500 ± 0.500" in text
    assert text.count("held out: ?") == 2
