"""The file that a report is."""

import json
import re
import sys
from itertools import pairwise

import pytest

MEGABYTES = 1e6
LONG = 10_000  # steps


@pytest.fixture
def report(call, tmp_path):
    """What the report of runs holds: the page, and the data that its scripts read."""

    def report(*folders):
        output = tmp_path / "reports" / "page.html"
        status, said, error = call("show", *folders, "--output", output)
        assert (status, error) == (0, "")
        assert said == f"report: {output}\n"
        page = output.read_text(encoding="utf-8")
        (data,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page)
        return page, json.loads(data)

    return report


def test_the_report_of_a_run_lies_in_its_directory(scored, call):
    folder = scored("one", [0.1, 0.2, 0.3, 0.4])
    status, said, _ = call("show", folder)
    assert (status, said) == (0, f"report: {folder / 'report.html'}\n")
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert '<a href="config.toml">' in page
    assert '<a href="model">' not in page  # there is none
    assert not list(folder.glob(".*"))


def test_it_needs_nothing_of_others(scored, report):
    page, _ = report(scored("one", [0.1, 0.2, 0.3, 0.4]))
    outside = page.partition("<script>")[0]
    assert "default-src 'none'" in outside
    assert not re.findall(r"<(?:link|img|script src)|url\(|@import|https?:", outside)


def test_curves_are_whole_and_know_what_they_cost(scored, report):
    _, (one,) = report(scored("one", [0.1, 0.2, 0.3, 0.4]))
    score = one["metrics"]["eval/score"]
    assert score["values"] == [0.1, 0.2, 0.3, 0.4]
    assert one["axes"][score["axis"]] == {
        "step": [0, 1, 2, 3],
        "seconds": [0, 2, 4, 6],
        "tokens": [0, 200, 400, 600],
    }
    assert one["phases"] == {"rollout": 0.5, "update": 1.5}


def test_words_stand_beside_the_scores(make_run, measured, trained, report):
    rows = [trained(1, 0, 1.0, feedback="well done"), trained(1, 0, 0.0)]
    _, (one,) = report(make_run("run", [measured(1, loss=1.0)], rows))
    completions = one["sets"][0]["units"][0]["completions"]
    assert [said["feedback"] for said in completions] == ["well done", ""]


def test_what_is_not_finite_is_not_drawn(make_run, measured, report):
    rows = [measured(1, a=float("nan"), b=1.0), measured(2, a=3.0, b=None, c=float("inf"))]
    _, (one,) = report(make_run("one", rows))
    assert one["metrics"]["a"]["values"] == [3.0]
    assert one["metrics"]["b"]["values"] == [1.0]
    assert "c" not in one["metrics"]


def test_it_says_in_what_runs_differ(scored, report):
    runs = [scored("one", [0.1] * 4), scored("two", [0.1] * 4, algorithm="dapo")]
    page, _ = report(*runs)
    different = page.partition("Where the runs differ")[2].partition("</table>")[0]
    rows = re.findall(r'<tr class="differs"><th scope="row">(.*?)</th>', different)
    assert rows == ["algorithm"]
    assert re.search(r"<td>grpo</td>\s*<td>dapo</td>", different)
    assert "min(r A, clip(r, 1 - clip_low, 1 + clip_high) A)" in page


def test_runs_of_one_name_are_told_apart(scored, report):
    _, found = report(scored("a/run", [0.1] * 4), scored("b/run", [0.1] * 4))
    assert [run["name"].endswith(f"{name}/run") for run, name in zip(found, "ab", strict=True)]
    assert found[0]["name"] != found[1]["name"]


@pytest.fixture
def long_run(make_run, measured, held_out, trained):
    """A run of ten thousand steps, evaluated every hundred."""
    metrics = [measured(s, **{f"metric/{i}": s + i for i in range(20)}) for s in range(1, LONG + 1)]
    steps = range(0, LONG + 1, 100)
    metrics[99::100] = [row | {"eval/score": row["step"] / LONG} for row in metrics[99::100]]
    rows = [
        trained(s, g, i / 8, completion="x" * 300) for s in steps for g in (0, 1) for i in range(8)
    ]
    rows += [held_out(s, g, 1.0, completion="<" * 100) for s in steps for g in range(100)]
    return make_run("long", metrics, rows)


def test_a_long_run_is_thinned_evenly_and_says_so(long_run, report):
    page, (one,) = report(long_run)
    assert len(page.encode()) < 3 * MEGABYTES
    assert "a point is the mean of up to 10 steps" in page
    steps = one["axes"][one["metrics"]["metric/0"]["axis"]]["step"]
    assert steps == list(range(10, LONG + 1, 10))
    assert one["metrics"]["metric/0"]["values"][:2] == [5.5, 15.5]
    assert len(one["metrics"]["eval/score"]["values"]) == 100  # few enough to be drawn as they are
    for found, of_a_group in zip(one["sets"], (8, 1), strict=True):
        assert found["shown"] < found["written"]
        assert all(len(unit["completions"]) == of_a_group for unit in found["units"])
        steps = sorted({unit["step"] for unit in found["units"]})
        assert (steps[0], steps[-1]) == (0, LONG)
        gaps = [after - before for before, after in pairwise(steps)]
        assert max(gaps) <= 2 * min(gaps)
    groups = {step: [] for step in steps}
    for unit in one["sets"][1]["units"]:
        groups[unit["step"]].append(unit["group"])
    assert len({tuple(labels) for labels in groups.values()}) == 1  # the same prompts every time
    assert len(groups[0]) > 1


def test_ten_long_runs_are_below_three_megabytes(make_run, measured, trained, report):
    texts = [trained(s, g, 1.0, completion="long " * 2000) for s in (1, 2, 3) for g in range(20)]
    metrics = [measured(s, **{f"metric/{i}": s / 7 for i in range(40)}) for s in range(1, 400)]
    page, found = report(*(make_run(f"run-{i}", metrics, texts) for i in range(10)))
    assert len(page.encode()) < 3 * MEGABYTES
    assert all(run["sets"][0]["shown"] for run in found)


def test_a_long_text_is_cut_and_says_by_how_much(make_run, measured, trained, report):
    run = make_run("one", [measured(1)], [trained(1, 0, 1.0, completion="x" * 10_000)])
    _, (one,) = report(run)
    (unit,) = one["sets"][0]["units"]
    assert unit["completions"][0]["text"].endswith("xx … [2,000 more characters]")


def test_rows_of_before_groups_were_numbered_are_grouped_by_prompt(make_run, trained, report):
    rows = [trained(1, 0, 1.0, prompt=prompt) for prompt in ("a", "a", "b")]
    for row in rows:
        del row["group"], row["phase"], row["tokens"]
    _, (one,) = report(make_run("one", [{"step": 1}], rows))
    assert [len(unit["completions"]) for unit in one["sets"][0]["units"]] == [2, 1]


def test_a_run_that_has_just_begun_has_a_report(make_run, report):
    folder = make_run("one", [])
    for name in ("metrics.jsonl", "samples.jsonl", "plugins.lock.json"):
        (folder / name).unlink()
    page, (one,) = report(folder)
    assert one["metrics"] == {}
    assert "0 of 3" in page


def test_what_cannot_be_shown_is_one_line(scored, call, tmp_path, monkeypatch):
    one, two = scored("one", [0.1] * 4), scored("two", [0.1] * 4)
    for arguments, says in (
        ([one, two], "a report of several runs needs a place: --output FILE.html"),
        ([tmp_path / "none"], "is no run directory: it does not exist"),
        ([one, "--output", tmp_path], "Is a directory"),
    ):
        status, _, error = call("show", *arguments)
        assert (status, len(error.splitlines())) == (1, 1)
        assert says in error
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    monkeypatch.setattr("anypo.support.extras.find_spec", lambda name: None)
    status, _, error = call("show", one)
    assert status == 1
    assert "a report needs vl_convert, which is not installed: pip install 'anypo[report]'" in error
