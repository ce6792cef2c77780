"""Which run is better, by how much, and what it took."""

import json
import math
from statistics import stdev

import pytest

from anypo import read_run
from anypo_report.scores import headline


@pytest.fixture
def told(call):
    """What `anypo compare --json` tells of each run."""

    def told(*arguments):
        status, output, error = call("compare", *arguments, "--json")
        assert status == 0, error
        found = json.loads(output)
        return found, found["runs"]

    return told


def test_final_and_best_scores_have_an_interval_over_the_prompts(scored, told):
    rewards = [1.0, 1.0, 0.0, 1.0]
    _, (found,) = told(scored("one", [0.2, 0.9, 0.5, 0.75], rewards))
    half = 1.959964 * stdev(rewards) / math.sqrt(4)
    assert found["final"] == {"step": 3, "value": 0.75, "error": pytest.approx(half)}
    assert found["best"] == {"step": 1, "value": 0.9, "error": None}
    assert found["steps"] == 3


def test_what_a_score_took_is_counted_in_steps_seconds_and_tokens(scored, told):
    slow, fast = scored("slow", [0.1, 0.2, 0.3, 0.6]), scored("fast", [0.1, 0.5, 0.7, 0.8])
    found, runs = told(slow, fast)
    assert found["score"] == 0.6
    assert runs[0]["reached"] == {"step": 3, "seconds": 6.0, "tokens": 600.0}
    assert runs[1]["reached"] == {"step": 2, "seconds": 4.0, "tokens": 400.0}
    _, runs = told(slow, fast, "--score", 0.7)
    assert [run["reached"] and run["reached"]["step"] for run in runs] == [None, 2]
    _, runs = told(slow, fast, "--score", 0.1)
    assert runs[0]["reached"] == {"step": 0, "seconds": 0.0, "tokens": 0.0}


def test_runs_are_paired_on_the_prompts_that_both_have(scored, told):
    one = scored("one", [0.5, 0.5, 0.5, 0.5], [1.0, 0.0, 0.0, 1.0])
    two = scored("two", [0.5, 0.5, 0.5, 0.6], [1.0, 1.0, 1.0, 0.0, 1.0])
    _, runs = told(one, two)
    gains = [0.0, 1.0, 1.0, -1.0]
    assert runs[0]["paired"] is None
    assert runs[1]["paired"] == {
        "prompts": 4,
        "better": 2,
        "worse": 1,
        "difference": 0.25,
        "error": pytest.approx(1.959964 * stdev(gains) / 2),
    }


def test_the_policy_is_compared_before_its_average(make_run, measured):
    names = ["eval/ema/score", "eval/score", "eval/ema/a/score", "eval/a/score"]
    for own, pair in (("eval/score", names[:2]), ("eval/a/score", names[2:])):
        made = make_run(own.replace("/", "-"), [measured(1, **dict.fromkeys(pair, 0.5))], [])
        assert headline([read_run(made)]) == own


def test_several_completions_of_a_prompt_are_one_measurement(make_run, measured, held_out, told):
    rows = [held_out(1, group, reward) for group in (0, 1) for reward in (group, 1.0)]
    one = make_run("one", [measured(1, **{"eval/score": 0.75})], rows)
    _, (found,) = told(one)
    assert found["final"]["error"] == pytest.approx(1.959964 * stdev([0.5, 1.0]) / math.sqrt(2))


def test_of_several_held_out_sets_the_metric_says_which(make_run, measured, held_out, told):
    metrics = [measured(1, **{"eval/easy/score": 1.0, "eval/hard/score": 0.5})]
    rows = [held_out(1, group, 1.0, set="easy") for group in range(4)]
    rows += [held_out(1, group, float(group % 2), set="hard") for group in range(4)]
    one = make_run("one", metrics, rows)
    found, (easy,) = told(one)
    assert found["metric"] == "eval/easy/score"
    assert easy["final"]["error"] == 0
    _, (hard,) = told(one, "--metric", "eval/hard/score")
    assert hard["final"]["error"] > 0


def test_a_set_whose_name_holds_the_word_loss_is_scored_as_any(make_run, measured, told):
    scores = [measured(s, **{"eval/glossary/score": v}) for s, v in enumerate((0.1, 0.9, 0.5))]
    _, (one,) = told(make_run("one", scores))
    assert one["best"]["value"] == 0.9


def test_of_losses_the_lower_ones_are_the_better(make_run, measured, told):
    loss = [measured(step, **{"eval/loss": value}) for step, value in enumerate((3.0, 1.0, 2.0))]
    found, (one, two) = told(make_run("one", loss), make_run("two", [*loss[:2], measured(2)]))
    assert (found["metric"], found["score"]) == ("eval/loss", 2.0)
    assert (one["best"]["value"], two["best"]["value"]) == (1.0, 1.0)
    assert one["reached"]["step"] == 1


def test_a_table_is_for_people(scored, call):
    one = scored("one", [0.1, 0.2, 0.3, 0.5], [0.0, 1.0])
    two = scored("two", [0.1, 0.2, 0.3, 1.0], [1.0, 1.0])
    status, output, _ = call("compare", one, two)
    assert status == 0
    lines = output.splitlines()
    assert lines[0].split()[:4] == ["run", "steps", "eval/score", "best"]
    assert lines[1].split()[:5] == ["one", "3", "0.500", "±", "0.980"]
    assert lines[1].split()[-3:] == ["3", "6.0", "600"]
    assert (
        "two beside one: +0.500 ± 0.980 on the same 2 held-out prompts: 1 better, 0 worse" in lines
    )
    assert lines[-1].startswith("±: 95 % interval")


def test_runs_without_held_out_completions_are_not_paired(scored, call):
    output = call("compare", scored("one", [0.5] * 4), scored("two", [0.5] * 4))[1]
    assert "two beside one: no held-out prompt of both in samples.jsonl" in output
    assert "95 %" not in output


def test_that_runs_are_compared_by_what_they_learnt_from_is_told(make_run, measured, call):
    rows = [measured(step, **{"reward/mean": 0.5}) for step in (1, 2)]
    status, output, _ = call("compare", make_run("one", rows), make_run("two", rows))
    assert status == 0
    assert "reward/mean is of the prompts that each run learnt from, which may be" in output


def test_what_cannot_be_compared_is_one_line(scored, make_run, measured, call, tmp_path):
    one, other = scored("one", [0.5] * 4), make_run("other", [{"step": 1, "a": 1}])
    nothing = make_run("nothing", [])
    for arguments, says in (
        ([one, other], "the runs have no score in common: name a metric of all (--metric)"),
        (
            [one, "--metric", "eval/scor"],
            "no finite value of 'eval/scor'; did you mean 'eval/score'",
        ),
        ([nothing], "no score in common"),
        ([one, one], "is given 2 times"),
        ([tmp_path], "is no run directory: it has no config.toml"),
    ):
        status, output, error = call("compare", *arguments)
        assert (status, output, len(error.splitlines())) == (1, "", 1)
        assert says in error
