import io
import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from anypo.errors import ConfigError
from anypo.training.trainer import Report
from anypo_cli.figures import described
from anypo_cli.live_screen import LiveScreen, shortened
from anypo_cli.plain_lines import PlainLines
from anypo_cli.running import make_display
from anypo_cli.sparkline import WIDEST, sparkline

STEP = {"reward/mean": 0.5, "reward/std": 0.25, "kl/ref": 0.01, "length/truncated": 0.125}
STEP |= {"clip/fraction": 0.1, "grad_norm": 0.75, "learning_rate": 3e-5, "groups/flat": 0.5}
GOOD = {"reward": 1.0, "completion": "right,\n[bold]bold[/bold]\x1b[2J"}
BAD = {"reward": 0.0, "completion": "begun" + 300 * " wrong" + " ended"}


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


def lines_of(display, *reports, steps=9):
    display.started(steps)
    for report in reports:
        display.reported(report)
    return display.console.file.getvalue().splitlines()


def plain_lines(every=1):
    return PlainLines(Console(file=StringIO(), width=120), every)


def live_screen():
    return LiveScreen(Console(file=StringIO(), force_terminal=True, width=120, color_system=None))


def screen(*reports, steps=30):
    """What the live screen shows after some reports."""
    display = live_screen()
    display.started(steps)
    for report in reports:
        display.reported(report)
    with display.console.capture() as captured:
        display.console.print(display.live.renderable)
    return captured.get()


@pytest.mark.parametrize(("make", "lines"), [(plain_lines, 1), (live_screen, 2)])
def test_a_long_note_is_wrapped_at_words_where_somebody_reads_it(make, lines):
    display = make()
    display.note(20 * "sentence ")
    written = display.console.file.getvalue().splitlines()
    assert len(written) == lines
    assert {word for line in written for word in line.split()} == {"note:", "sentence"}


# -- lines ---------------------------------------------------------------------------------------


def test_plain_lines_show_every_step():
    text = watched(plain_lines())
    lines = text.splitlines()
    assert "step 0/2  eval 0.250" in lines
    (first,) = [line for line in lines if line.startswith("step 1/2")]
    assert "reward 0.500  std 0.250  flat groups 50%  kl 0.0100  clip 0.100  gradient 0.75" in first
    assert "rate 3e-05  truncated 12%" in first
    assert first.endswith("left")
    assert "\x1b" not in text


def test_fewer_lines_are_the_first_the_last_those_asked_for_and_the_evaluations():
    reports = [Report(step, STEP | {"eval/loss": 1.0} if step == 5 else STEP) for step in range(12)]
    lines = lines_of(plain_lines(every=4), *reports, steps=11)
    assert [line.split("/")[0] for line in lines] == [
        f"step {step}" for step in (0, 1, 4, 5, 8, 11)
    ]


def test_a_run_that_goes_on_has_a_line_for_its_first_step():
    lines = lines_of(plain_lines(every=100), Report(7, STEP), Report(8, STEP), Report(9, STEP))
    assert [line.split("/")[0] for line in lines] == ["step 7", "step 9"]


def test_the_scores_of_held_out_sets_are_told_apart():
    metrics = {"eval/hard/score": 0.5, "eval/easy/score": 1.0, "eval/hard/score/exact": 0.1}
    assert described(metrics) == "eval hard 0.500  eval easy 1.000"


# -- the live screen -----------------------------------------------------------------------------


@pytest.mark.parametrize("make", [plain_lines, live_screen])
def test_the_outcome_is_said_at_the_end(make):
    text = watched(make())
    assert "something worth saying" in text
    assert "0.250 -> 0.750" in text
    assert "runs/one" in text


def test_the_screen_keeps_the_last_score_and_says_of_which_step_it_is():
    reports = [Report(0, {"eval/score": 0.25}), Report(25, STEP | {"eval/score": 0.75})]
    text = screen(*reports, Report(26, STEP), Report(27, STEP | {"reward/mean": 1.0}))
    assert "step 27/30" in text
    assert "▁▁█" in text.partition("reward")[2].partition("eval")[0]
    assert "1.000 ± 0.250" in text
    assert "▁█" in text.partition("eval")[2]
    assert "0.750 @25" in text
    assert (
        "flat groups 50%  kl 0.0100  clip 0.100  gradient 0.75  rate 3e-05  truncated 12%" in text
    )


def test_the_screen_shows_the_best_and_the_worst_completion_as_they_are():
    text = screen(Report(1, STEP, extremes=[GOOD, BAD]))
    assert "best   1.000  right, [bold]bold[/bold]" in text
    assert "\x1b[2J" not in text
    worst = text.partition("worst  0.000  ")[2].splitlines()
    assert worst[0].startswith("begun wrong")
    assert worst[1].rstrip().endswith("wrong ended")
    assert len(worst) == 2
    later = screen(Report(1, STEP, extremes=[GOOD, BAD]), Report(2, STEP))
    assert "best   1.000" in later


def test_completions_that_are_all_as_good_are_shown_as_one():
    assert "all  1.000  right" in screen(Report(1, STEP, extremes=[GOOD]))


def test_a_run_without_rewards_has_a_curve_of_its_loss():
    reports = [Report(step, {"loss": 3.0 - step, "eval/loss": 2.0}) for step in (1, 2)]
    text = screen(*reports)
    assert "loss       █▁  1.000" in text
    assert "eval loss  ▁▁  2.000 @2" in text


def test_a_text_that_is_too_long_keeps_its_beginning_and_its_end():
    assert shortened("abcdefghij", 10) == "abcdefghij"
    assert shortened("abcdefghijk", 9) == "abc … ijk"


# -- curves --------------------------------------------------------------------------------------


def test_a_curve_goes_from_the_lowest_to_the_highest_value():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7]) == "▁▂▃▄▅▆▇█"
    assert sparkline([-1.5, 1.5, float("nan"), float("inf"), 1.5]) == "▁██"
    assert sparkline([7.0, 7.0]) == "▁▁"
    assert sparkline([]) == ""


def test_a_long_curve_is_one_of_means():
    curve = sparkline(list(range(10_000)))
    assert len(curve) == WIDEST
    assert list(curve) == sorted(curve)
    assert curve[:1] + curve[-1:] == "▁█"


# -- which display -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("terminal", "log_every", "kind"),
    [(True, None, LiveScreen), (True, 3, PlainLines), (False, None, PlainLines)],
)
def test_a_terminal_has_a_live_screen_unless_lines_are_asked_for(
    monkeypatch, terminal, log_every, kind
):
    monkeypatch.setenv("FORCE_COLOR" if terminal else "NO_COLOR", "1")
    display = make_display(log_every)
    assert type(display) is kind


def test_lines_come_every_step_at_most():
    with pytest.raises(ConfigError, match="log_every is 0: it is a number of steps, from 1 on"):
        make_display(0)


def test_what_an_output_cannot_print_does_not_end_the_run(monkeypatch):
    written = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(written, "ascii", write_through=True))
    make_display().note("naïve ▁")
    assert b"note: na\\xefve \\u2581" in written.getvalue()


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
    (tmp_path / "config.toml").write_text('algorithm = "grpo"\n')
    (tmp_path / "samples.jsonl").write_text("".join(f"{line}\n" for line in lines))
    display = PlainLines(Console(file=StringIO(), width=120))
    display.reported(Report(0, {"eval/score": 0.25}))
    display.reported(Report(2, {"eval/score": 0.5}))
    display.finished(tmp_path)
    text = display.console.file.getvalue()
    assert "eval score 0.250 -> 0.500 ± 0.500" in text
    assert text.count("held out: ?") == 2


def test_samples_that_cannot_be_read_are_told_of_and_end_nothing(tmp_path):
    (tmp_path / "config.toml").write_text('algorithm = "grpo"\n')
    (tmp_path / "samples.jsonl").write_text('{"step": 0,\n{"step": 2}\n')
    display = plain_lines()
    display.reported(Report(0, {"eval/score": 0.25}))
    display.finished(tmp_path)
    text = display.console.file.getvalue().replace("\n", " ")
    assert "line 1, is damaged" in text
    assert "eval score 0.250 -> 0.250" in text
    assert f"run directory: {tmp_path}" in text
