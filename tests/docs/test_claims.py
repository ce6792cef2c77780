"""Claims are judged by one rule, their experiments can be run, and their page shows all of them."""

import json
from collections import Counter
from contextlib import nullcontext
from random import Random

import claims
import claims_page
import figures
import pytest
import tables
from claimed import engine, rewards, rows, training
from claimed.catalogue import BY_SUBJECT, CLAIMS
from claimed.claim import Claim, Run
from claimed.environments import Number
from claimed.measures import at_the_end, fallen, lately
from claimed.paired import Interval, differences, interval, verdict
from generate import ROOT
from hypothesis import given
from hypothesis import strategies as st

from anypo import compose
from anypo.runs.options import make_config
from anypo_tasks import answers

EXPERIMENTS = [run for run, _ in engine.asked_by(CLAIMS.values(), [0])]
NUMBERS = st.floats(-1e6, 1e6)
OF_UPDATES = "entropy"  # is measured in updates, and the bad model of the tests may learn nothing
ENDED = at_the_end("right", "right answers")
ONE = Claim(
    name="one",
    source="somebody",
    says="First is more than second.",
    arms={"first": Run("f:f", {"x": 1}), "second": Run("f:f", {"x": 2})},
    measure=ENDED,
    expects="more",
)


def row(run, seed, *values):
    curve = list(enumerate(values))
    return {"run": run.key, "seed": seed, "curves": {"right": curve}}


def both(*pairs):
    first, second = ONE.arms.values()
    return [
        row(run, seed, 0.5, value)
        for seed, pair in enumerate(pairs)
        for run, value in zip((first, second), pair, strict=True)
    ]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where figures are kept, of a single claim."""
    for module, name in ((figures, "FOLDER"), (tables, "FIGURES")):
        monkeypatch.setattr(module, name, tmp_path)
    monkeypatch.setattr(claims_page, "PICTURES", tmp_path / "pictures")
    monkeypatch.setattr(claims, "CLAIMS", {"one": ONE})
    monkeypatch.setattr(claims, "BY_SUBJECT", {"Some": (ONE,)})
    return tmp_path


@pytest.fixture
def draw():
    return Random(0)


@pytest.fixture
def carry_out(monkeypatch):
    """Runs the command with experiments that take no time; gives what was run."""
    ran = []

    def command(*arguments, fails=()):
        def carried_out(asked, jobs, *, quick=False):
            for run, seed in asked:
                ran.append((run.arguments["x"], seed))
                if seed in fails:
                    error = ValueError("no such thing")
                    error.add_note("seed")
                    yield error
                else:
                    yield row(run, seed, 0.25, 1 / run.arguments["x"] + seed / 100)

        monkeypatch.setattr(claims, "carried_out", carried_out)
        monkeypatch.setattr("sys.argv", ["claims.py", *arguments])
        ran.clear()
        with pytest.raises(SystemExit) if fails else nullcontext():
            claims.main()
        return list(ran)

    return command


# The rule


@pytest.mark.parametrize(
    ("low", "high", "by", "judged"),
    [
        (0.1, 0.3, 0, "reproduced"),
        (0.1, 0.3, 0.05, "reproduced"),
        (0.1, 0.3, 0.2, "not seen here"),
        (0.1, 0.3, 0.4, "not seen here"),  # as claimed, but not as much
        (-0.1, 0.3, 0, "not seen here"),
        (-0.3, -0.1, 0, "opposite seen here"),
        (-0.3, -0.1, 0.4, "opposite seen here"),
        (-0.01, 0.3, -0.02, "reproduced"),
        (-0.03, 0.3, -0.02, "not seen here"),
        (-0.03, -0.01, -0.02, "not seen here"),
        (-0.04, -0.03, -0.02, "opposite seen here"),
        (0.0, 0.0, 0, "not seen here"),
    ],
)
def test_an_interval_is_judged_by_where_it_lies(low, high, by, judged):
    assert verdict(Interval((low + high) / 2, low, high), by) == judged


@given(st.lists(NUMBERS, min_size=2, max_size=14), NUMBERS)
def test_an_interval_moves_with_its_values_and_lies_around_their_mean(values, shift):
    found, moved = interval(values), interval([value + shift for value in values])
    assert found.low <= found.mean <= found.high
    width = found.high - found.low
    assert moved.high - moved.low == pytest.approx(width, rel=1e-6, abs=1e-4)
    assert moved.mean == pytest.approx(found.mean + shift, rel=1e-9, abs=1e-6)


@given(st.lists(NUMBERS, min_size=2, max_size=8))
def test_what_is_claimed_the_other_way_round_is_judged_the_other_way_round(values):
    found = interval(values)
    turned = {"reproduced": "opposite seen here", "opposite seen here": "reproduced"}
    judged = verdict(found)
    assert verdict(found.turned(-1)) == turned.get(judged, judged)
    assert found.turned(-1).turned(-1) == found


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=8), NUMBERS)
def test_what_both_of_a_pair_share_does_not_count(pairs, shared):
    first, second = zip(*pairs, strict=True)
    plain = differences(first, second, relative=False)
    more = differences([a + shared for a in first], [b + shared for b in second], relative=False)
    assert more == pytest.approx(plain, rel=1e-6, abs=1e-3)


def test_relative_differences_are_shares_of_the_second():
    assert differences([3.0, 1.0], [4.0, 2.0], relative=True) == [-0.25, -0.5]


@pytest.mark.parametrize(
    ("values", "half"),
    [
        ([1, 2, 3], 2.4841),  # 4.3027 / sqrt(3)
        ([0, 1], 6.3531),  # 12.7062 / 2
        ([*range(11)], 2.2281),  # 2.2281 sqrt(11 / 11)
        ([*range(31)], 3.3354),  # 2.0423 sqrt(82.67 / 31)
    ],
)
def test_an_interval_is_students(values, half):
    found = interval(values)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=3e-3)


def test_curves_are_read():
    curves = {"right": [(0, 0.2), (10, 0.8), (20, 0.4), (30, 0.6)]}
    assert ENDED(curves) == 0.6
    assert lately("right", "")(curves) == 0.5
    assert fallen("right", "")(curves) == pytest.approx(0.2)
    with pytest.raises(KeyError, match="no curve 'kl', only right"):
        at_the_end("kl", "")(curves)


@given(st.lists(NUMBERS, min_size=1, max_size=200))
def test_a_thinned_curve_is_short_and_ends_where_it_did(values):
    points = list(enumerate(values, 1))
    thin = training.thinned(points)
    assert len(thin) <= training.POINTS
    assert thin[-1][0] == len(values)
    assert min(values) - 1e-6 <= min(y for _, y in thin)
    assert max(y for _, y in thin) <= max(values) + 1e-6


# The engine


def test_a_claim_is_judged_by_the_seeds_that_both_experiments_have():
    kept = engine.Kept([*both((0.7, 0.5), (0.9, 0.6)), row(ONE.arms["first"], 7, 0.0, 0.0)])
    found = engine.result(ONE, kept)
    assert found["seeds"] == [0, 1]
    assert found["values"] == {"first": 0.8, "second": 0.55}
    assert found["difference"][0] == 0.25
    assert found["verdict"] == "not seen here"


def test_one_seed_is_no_figure():
    assert engine.result(ONE, engine.Kept(both((0.7, 0.5)))) == {
        "seeds": [0],
        "verdict": engine.NOT_RUN,
    }


def test_what_failed_is_told_with_its_experiment_and_others_go_on():
    asked = [(Run("claimed.rows:none_such", {}), 3), (Run("claimed.rows:few", {}), 4)]
    for error in engine.carried_out(asked, 2):
        assert isinstance(error, Exception)
        assert error.__notes__[-1].startswith("seed ")


# The command


def test_what_was_run_is_kept_and_not_run_again(folder, carry_out, capsys):
    assert carry_out("--seeds", "2") == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert carry_out("--seeds", "3") == [(1, 2), (2, 2)]
    assert carry_out() == []
    assert len(carry_out("--again")) == 6
    assert "one: reproduced; right answers: 0.5 [+0.5, +0.5]" in capsys.readouterr().out
    (found,) = json.loads((folder / "claims.json").read_text())
    assert found["verdict"] == "reproduced"


def test_the_list_says_what_is_left_and_runs_nothing(folder, carry_out, capsys):
    assert carry_out("--list") == []
    assert "one: not run yet; right answers: -\nleft to run: 6 exp" in capsys.readouterr().out


def test_a_quick_run_keeps_nothing(folder, carry_out):
    assert carry_out("--quick") == [(1, 0), (2, 0)]
    assert not list(folder.iterdir())


def test_a_failure_ends_in_an_error_after_the_others(folder, carry_out, capsys):
    assert len(carry_out(fails=[1])) == 6
    assert "failed: no such thing" in capsys.readouterr().out
    assert len(carry_out()) == 2


def test_an_unknown_claim_is_refused(folder, carry_out, capsys):
    carry_out("two", fails=[0])
    assert "there is no claim 'two'" in capsys.readouterr().err


# The page


def test_the_page_shows_what_was_found(folder):
    for each in both((0.9, 0.5), (0.8, 0.4), (0.85, 0.45)):
        figures.keep(claims.RUNS, each, "run", "seed")
    claims.write()
    assert "1 claims: 1 reproduced." in claims_page.overview()
    shown = claims_page.sections()
    assert "## Some\n\n### one\n\nFirst is more than second. (somebody)" in shown
    assert "**Reproduced**, +0.4 [+0.4, +0.4] of 3 seeds, where more was claimed" in shown
    assert "| first | `f:f(x=1)` | 0.85 |" in shown
    assert "![Curves of one](pictures/claims/one.svg)" in shown
    claims_page.draw()
    assert "first" in (folder / "pictures" / "one.svg").read_text()


def test_the_page_shows_what_was_not_run_yet(folder):
    claims.write()
    assert "**Not run yet**: `python benchmarks/claims.py one`" in claims_page.sections()
    assert "| not run yet |  |" in claims_page.overview()
    claims_page.draw()
    assert not list((folder / "pictures").iterdir())


def test_sizes_and_margins_are_told():
    found = {"expects": "less", "verdict": "reproduced", "seeds": [0, 1, 2], "relative": True}
    sized = found | {"by": 0.4, "difference": [-0.5, -0.6, -0.4]}
    assert "-50.0 % [-60.0, -40.0] of 3 seeds, where less by 40.0 %" in claims_page._evidence(sized)
    assert "less, or no more than 25.0 % off," in claims_page._evidence(sized | {"by": -0.25})


def test_the_kept_figures_are_those_of_the_claims():
    found = {row["claim"]: row for row in tables.kept("claims")}
    assert list(found) == list(CLAIMS), "run benchmarks/claims.py with the name of one that was run"
    kept = engine.Kept(figures.kept(claims.RUNS))
    for subject, some in BY_SUBJECT.items():
        for claim in some:
            told = json.loads(json.dumps(claims.row(subject, claim, kept)))
            assert found[claim.name] == told, claim.name


def test_the_curves_that_the_page_shows_are_drawn():
    drawn = {file.stem for file in (ROOT / "docs" / "pictures" / "claims").glob("*.svg")}
    assert drawn == {row["claim"] for row in tables.kept("claims") if claims_page.has_curves(row)}


# The experiments


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_claim_has_two_experiments_that_differ(claim):
    first, second = claim.arms.values()
    assert first.key != second.key
    assert json.loads(json.dumps(first.key)) == first.key


def test_a_name_stands_for_one_claim():
    names = Counter(claim.name for some in BY_SUBJECT.values() for claim in some)
    assert set(names.values()) == {1}


def test_every_stage_composes_and_has_known_options():
    stages = [s for run in EXPERIMENTS for s in run.arguments.get("stages", ())]
    for how in {json.dumps(stage): stage for stage in stages}.values():
        compose(how["algorithm"], knobs=how["knobs"], hooks=how.get("hooks"))
        make_config(how["options"])


def test_a_run_leaves_what_its_measures_read(quick_cache):
    claim = CLAIMS["few_samples_gspo"]
    curves = engine.curves(claim.arms["gspo"], 0, True)
    assert claim.measure(curves) >= 0
    assert {"right", "tokens", "length", "held-out length", "seconds"} <= curves.keys()


@pytest.mark.slow
@pytest.mark.parametrize("run", EXPERIMENTS, ids=lambda run: claims.described(run.key)[:80])
def test_every_experiment_leaves_what_its_measures_read(quick_cache, quick_task, run):
    curves = json.loads(json.dumps(engine.curves(run, 0, True)))
    for claim in CLAIMS.values():
        is_measured = claim.measure.curve in curves or claim.measure.curve != OF_UPDATES
        if run in claim.arms.values() and is_measured:
            assert isinstance(claim.measure(curves), float)


def test_a_share_of_pairs_is_flipped(draw):
    plain, some = rows.flipped(draw, 0.0), rows.flipped(draw, 0.4)
    swapped = [new["chosen"] == old["rejected"] for new, old in zip(some, plain, strict=True)]
    assert sum(swapped) / len(swapped) == pytest.approx(0.4, abs=0.02)


def test_a_share_of_labels_is_good_and_true(draw):
    made = rows.labelled(draw, 0.1)
    assert sum(row["label"] for row in made) / len(made) == pytest.approx(0.1, abs=0.02)
    right = {row["prompt"][0]["content"]: row["answer"] for row in rows.few(draw, 7600)}
    for each in made[:50]:
        answer = answers.final(each["completion"][0]["content"])
        assert (answer == right[each["prompt"][0]["content"]]) == each["label"]


def test_rambling_is_as_often_right_whatever_its_length(draw):
    by_repeats = {}
    for each in rows.rambling(draw):
        text = each["completion"][0]["content"]
        is_right = answers.final(text) == each["answer"]
        by_repeats.setdefault(text.count("=") // 2, []).append(is_right)
    assert sorted(by_repeats) == list(rows.REPEATS)
    for right in by_repeats.values():
        assert sum(right) / len(right) == pytest.approx(rows.RIGHT, abs=0.05)


def test_guesses_are_bare_and_wrong(draw):
    texts = [each["completion"][0]["content"] for each in rows.guessing(draw, 0.1)]
    assert sum("=" in text for text in texts) / len(texts) == pytest.approx(0.1, abs=0.02)


def test_rewards_see_working_and_length():
    texts = ["1+2=3 1+1+0=2 <answer>23</answer>", "<answer>23</answer>", "1=1 2=2 24"]
    assert rewards.worked(texts, ["23"] * 3) == [1, 0, 0]
    assert rewards.brief([[1] * rewards.BRIEF, [1] * (rewards.BRIEF + 1)]) == [1, 0]


def test_a_number_says_no_words():
    environment = Number()
    environment.reset({"answer": "12"})
    assert environment.step({"content": "<answer>13</answer>"}).observation == "0"
    assert environment.step({"content": "<answer>12</answer>"}).reward == 1
