"""When checkpoints are written, which stay, and what happens where they cannot be written."""

import errno
import json
import os
import re
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from anypo import Observer, Plugin, compose, hookimpl, resume, run
from anypo.errors import ConfigError, ModelError, RewardError, SaveError
from anypo.runs import checkpoints, directory, lines
from anypo.runs.checkpoints import Checkpoints
from anypo.runs.directory import RunDirectory
from anypo.runs.options import RunConfig
from anypo.support import saving
from anypo.training.average import Average
from anypo.training.evaluation import Evaluated
from anypo.training.trainer import Report

ORDINARY = re.compile("since step|prompts of|[0-9]+ of [0-9]+ held-out prompts")  # of these data


class Watch(Observer):
    """Remembers what it is told beside the ordinary, and does something at every step."""

    def __init__(self, do=lambda step: None):
        self.notes, self.do = [], do

    def note(self, text):
        """See `Observer`."""
        if not ORDINARY.match(text):
            self.notes.append(text)

    def reported(self, report):
        """See `Observer`."""
        self.do(report.step)


@pytest.fixture
def setting(letters, model_dir):
    """Options of a short run."""
    return {
        **letters,
        "model": model_dir,
        "steps": 4,
        "prompts_per_step": 1,
        "warmup_steps": 0,
        "minibatches": 2,
        "device": "cpu",
        "save_every": 1,
    }


def steps_kept(folder):
    return [int(path.name[-6:]) for path in sorted((folder / "checkpoints").iterdir())]


def steps_written(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line)["step"] for line in lines]


@pytest.mark.parametrize(("keep", "kept"), [(1, [4]), (2, [3, 4]), (0, [1, 2, 3, 4])])
def test_the_newest_stay(setting, keep, kept):
    folder = run("grpo", **setting, keep_checkpoints=keep)
    assert steps_kept(folder) == kept
    for path in (folder / "checkpoints").iterdir():
        saving.manifest_of(path)
    saving.manifest_of(folder / "model")


def test_a_checkpoint_is_a_model_and_tells_what_it_was_made_with(setting):
    checkpoint = run("grpo", **setting) / "checkpoints" / "step-000004"
    AutoModelForCausalLM.from_pretrained(checkpoint)
    run("grpo", **{**setting, "model": str(checkpoint), "output": f"{setting['output']}-2"})
    assert (checkpoint / "plugins.lock.json").is_file()


@pytest.fixture
def scheduled(tmp_path, monkeypatch):
    """Checkpoints of a run, by options, whose clock stands still."""
    clock = [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: clock[0])

    def scheduled(**options):
        folder = RunDirectory(str(tmp_path / "run"), "grpo")
        return Checkpoints(folder, RunConfig(**options), pytest.fail), clock

    return scheduled


def test_without_an_interval_they_are_due_every_ten_minutes(scheduled):
    due, clock = scheduled()
    clock[0] = 599.0
    assert not due.due(Report(3))
    clock[0] = 601.0
    assert due.due(Report(4))
    assert not due.due(Report(0))
    due._took = 100.0  # and take no more than a tenth of the time
    assert not due.due(Report(5))
    clock[0] = 1001.0
    assert due.due(Report(6))


def scores(monkeypatch, values):
    """Have the held-out evaluations of a run give these scores."""
    left = iter(values)

    def found(*_):
        return Evaluated({"score": next(left), "loss": 1.0})

    monkeypatch.setattr("anypo.runs.assembly.sampled_score", found)


BEST = {"eval_every": 1, "save_every": 100, "keep_checkpoints": 1, "keep_best": "eval/score"}


def test_the_best_stays_and_is_told(setting, monkeypatch):
    scores(monkeypatch, [0.9, 0.1, 0.5, 0.4, 0.3])
    watch = Watch()
    folder = run("grpo", observer=watch, **{**setting, **BEST, "eval_data": setting["data"]})
    assert steps_kept(folder) == [2]
    best = folder / "checkpoints" / "step-000002"
    assert watch.notes[-1] == f"best eval/score: 0.5 in step 2, {best}"


def test_the_best_survives_that_the_run_is_ended(setting, monkeypatch):
    def stop(step):
        if step == 3:
            raise RuntimeError

    options = {**setting, **BEST, "save_every": 1, "eval_data": setting["data"]}
    scores(monkeypatch, [0.0, 0.5, 0.1, 0.1, 0.1, 0.2, 0.2])
    with pytest.raises(RuntimeError):
        run("grpo", observer=Watch(stop), **options)
    assert steps_kept(Path(options["output"])) == [1, 2]
    watch = Watch()
    folder = resume(options["output"], observer=watch)
    assert steps_kept(folder) == [1, 4]
    assert watch.notes[-1].startswith("best eval/score: 0.5 in step 1, ")


def test_the_score_of_one_of_several_sets_says_what_is_best(setting, monkeypatch):
    of_sets = {"glossary": iter([0.9, 0.1, 0.5, 0.4, 0.3]), "other": iter([0.0] * 5)}

    def found(*how):
        return Evaluated({"score": next(of_sets[how[-1]])}, how[-1])

    monkeypatch.setattr("anypo.runs.assembly.sampled_score", found)
    sets = [f"{name}={setting['data']}" for name in of_sets]
    best = {**BEST, "keep_best": "eval/glossary/score"}
    folder = run("grpo", observer=Watch(), **{**setting, **best, "eval_data": sets})
    assert steps_kept(folder) == [2]


def test_of_a_loss_the_lowest_is_best(scheduled):
    due, _ = scheduled(keep_best="eval/loss", save_every=100, eval_data="x")
    losses = [2.0, 1.0, float("nan"), 1.5, 0.5]
    found = []
    for step, loss in enumerate(losses, 1):
        found.append(due.due(Report(step, {"eval/loss": loss})))
        due.best = due._improved or due.best
    assert found == [True, True, False, False, True]


def test_a_metric_that_is_not_measured_is_refused(setting):
    options = {**setting, **BEST, "eval_data": setting["data"], "keep_best": "eval/scor"}
    with pytest.raises(
        ConfigError, match=r"keep_best names 'eval/scor'.*did you mean 'eval/score'"
    ):
        run("grpo", **options)
    with pytest.raises(ConfigError, match="keep_best is set, but there are no held-out prompts"):
        run("grpo", **setting, keep_best="eval/score")
    with pytest.raises(ConfigError, match="keep_best"):
        run("grpo", **setting, keep_best="reward/mean")


AVERAGED = {**BEST, "ema": 0.5, "keep_best": "eval/ema/score", "learning_rate": 1e-2}


def test_averaged_weights_are_saved_beside_the_others(setting):
    options = {**setting, **AVERAGED, "eval_data": setting["data"], "save_every": 4}
    watch = Watch()
    folder = run("grpo", observer=watch, **options)
    last = folder / "checkpoints" / "step-000004"
    for place in (folder, last):
        average = AutoModelForCausalLM.from_pretrained(place / "model-ema")
        policy = AutoModelForCausalLM.from_pretrained(place / "model" if place is folder else place)
        pairs = list(zip(average.parameters(), policy.parameters(), strict=True))
        gaps = [float((one - other).detach().abs().max()) for one, other in pairs]
        assert 0 < max(gaps) < 0.1
    AutoTokenizer.from_pretrained(folder / "model-ema")
    saving.manifest_of(folder / "model-ema")
    (best,) = (note for note in watch.notes if note.startswith("best eval/ema/score"))
    assert best.endswith("/model-ema")
    assert Path(best.rpartition(", ")[2]).is_dir()
    written = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert all({"eval/score", "eval/ema/score"} <= row.keys() for row in written)
    said = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert {row["set"] for row in said if row["phase"] == "eval"} == {"eval", "ema"}


def test_the_best_average_of_a_set_is_kept_and_only_where_there_is_one(setting):
    named = {"eval_data": f"hard={setting['data']}", "keep_best": "eval/ema/hard/score"}
    without = {**setting, **AVERAGED, **named, "ema": None}
    with pytest.raises(ConfigError, match=r"'eval/ema/hard/score', but no averaged weig.*--ema"):
        run("grpo", **without)
    other = {**without, "ema": 0.5, "keep_best": "eval/ema/other/score"}
    with pytest.raises(ConfigError, match="which is of no held-out set"):
        run("grpo", **other)
    watch = Watch()
    run("grpo", observer=watch, **{**without, "ema": 0.5})
    assert any(note.startswith("best eval/ema/hard/score") for note in watch.notes)


def test_what_ends_a_run_while_its_average_is_evaluated_leaves_the_policy(setting, monkeypatch):
    whole, calls = [], []
    plain = Average.shown

    def breaking(self):
        calls.append([weight.detach().clone() for weight in self._policy.values()])
        whole.append(calls[-1])
        return plain(self)

    def failing(prompts, sampler, scorer, n, name):
        if len(calls) == 2:  # of the policy after step 1, and now of its average
            raise RewardError("no more")
        return Evaluated({"score": 0.0}, name)

    monkeypatch.setattr(Average, "shown", breaking)
    monkeypatch.setattr("anypo.runs.assembly.sampled_score", failing)
    options = {**setting, **AVERAGED, "eval_data": setting["data"], "keep_best": None}
    with pytest.raises(RewardError, match="the model so far is in"):
        run("grpo", **options)
    saved = AutoModelForCausalLM.from_pretrained(Path(setting["output"]) / "model")
    trained = [weight for weight in saved.parameters() if weight.requires_grad]
    assert all(torch.equal(one, other) for one, other in zip(trained, whole[1], strict=True))


# -- where nothing can be written ------------------------------------------------------------------


def full(*_, **__):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.fixture
def full_disk(monkeypatch):
    """Has the disk be full in some steps for what a function writes."""

    def full_disk(module, name, steps):
        plain = getattr(module, name)

        def turn(step):
            monkeypatch.setattr(module, name, full if step in steps else plain)

        return turn

    return full_disk


def test_a_checkpoint_that_cannot_be_written_costs_nothing_else(setting, full_disk):
    watch = Watch(full_disk(saving, "_settle", {2, 3}))
    folder = run("grpo", observer=watch, **setting, keep_checkpoints=0)
    assert steps_kept(folder) == [1, 4]
    assert steps_written(folder) == [1, 2, 3, 4]
    checkpoint = folder / "checkpoints" / "step-000002"
    assert watch.notes[0] == (
        f"'{checkpoint}' cannot be written: No space left on device; training goes on without; "
        f"`anypo run --resume {folder}` goes on from step 1"
    )
    AutoModelForCausalLM.from_pretrained(folder / "model")
    assert not list((folder / "checkpoints").glob(".*"))


def test_a_run_that_cannot_even_begin_says_the_path(setting, monkeypatch):
    monkeypatch.setattr(saving, "to_disk", full)
    with pytest.raises(SaveError, match=r"run/plugins\.lock\.json' cannot be written: No space"):
        run("grpo", **setting)
    monkeypatch.setattr("anypo.support.hold.Hold.take", full)
    with pytest.raises(SaveError, match=r"other' cannot be written: No space left on device"):
        run("grpo", **{**setting, "output": setting["output"].replace("run", "other")})


def test_what_safetensors_says_of_a_full_disk_is_told_alike(setting, monkeypatch):
    from safetensors import SafetensorError

    def save(self, folder, **_):
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("transformers.PreTrainedModel.save_pretrained", save)
    with pytest.raises(SaveError, match=r"run/model' cannot be written: .*No space left on device"):
        run("grpo", **{**setting, "save_every": None})


def test_lines_that_cannot_be_written_are_written_later(setting, full_disk):
    watch = Watch(full_disk(lines, "_append", {1, 2}))
    folder = run("grpo", observer=watch, **setting)
    assert steps_written(folder) == [1, 2, 3, 4]
    (note,) = watch.notes
    assert note.startswith(f"'{folder / 'metrics.jsonl'}' cannot be written: No space left on")
    assert "tried again after each step" in note


def test_lines_that_are_lost_at_the_end_are_told(setting, full_disk):
    watch = Watch(full_disk(lines, "_append", {3, 4}))
    folder = run("grpo", observer=watch, **setting)
    assert steps_written(folder) == [1, 2, 3]
    assert watch.notes[-1].startswith("what metrics and samples lack is lost: ")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Where temporary files are put."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr(directory.tempfile, "tempdir", str(tmp_path / "elsewhere"))
    return tmp_path / "elsewhere"


def only_elsewhere(monkeypatch, elsewhere):
    settle = saving._settle

    def settle_elsewhere(made, folder, facts):
        if elsewhere not in folder.parents:
            full()
        settle(made, folder, facts)

    monkeypatch.setattr(saving, "_settle", settle_elsewhere)


def test_a_model_that_cannot_be_saved_at_the_end_is_put_elsewhere(setting, monkeypatch, elsewhere):
    def filling(step):
        if step == 4:
            only_elsewhere(monkeypatch, elsewhere)

    with pytest.raises(SaveError) as caught:
        run("grpo", observer=Watch(filling), **setting)
    (model,) = elsewhere.glob("*/model")
    AutoModelForCausalLM.from_pretrained(model)
    run_folder = setting["output"]
    assert str(caught.value) == (
        f"'{run_folder}/model' cannot be written: No space left on device; the model is in {model} "
        f"instead; `anypo run --resume {run_folder}` goes on from step 3"
    )
    monkeypatch.undo()
    AutoModelForCausalLM.from_pretrained(resume(run_folder) / "model")


def test_a_failing_reward_on_a_full_disk_is_one_sentence_with_both(setting, tmp_path, monkeypatch):
    (tmp_path / "reward.py").write_text(
        "def score(completions, **_):\n    raise ValueError('no')\n"
    )
    monkeypatch.setattr(saving, "_settle", full)
    with pytest.raises(RewardError, match=r"^step 1: reward 'score' raised .*nor elsewhere: "):
        run("grpo", **setting)


def test_a_directory_that_was_deleted_is_made_again(setting):
    folder = Path(setting["output"])
    watch = Watch(lambda step: step == 2 and shutil.rmtree(folder))
    run("grpo", observer=watch, **setting)
    assert {"config.toml", "plugins.lock.json", "model", "checkpoints", "metrics.jsonl"} <= {
        path.name for path in folder.iterdir()
    }
    assert steps_kept(folder) == [3, 4]
    assert steps_written(folder) == [3, 4]
    assert resume(folder) == folder


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_directory_that_was_made_read_only_is_one_sentence(setting, elsewhere):
    folder = Path(setting["output"])
    watch = Watch(lambda step: step == 2 and folder.chmod(0o555))
    with pytest.raises(SaveError, match=r"model' cannot be written: Permission denied; the model"):
        run("grpo", observer=watch, **setting)
    folder.chmod(0o755)


class Remembers(Plugin):
    """What it should not."""

    @hookimpl(wrapper=True)
    def rollout(self, state):
        """Remembers."""
        state["mine"] = lambda: 1
        return (yield)


def test_a_plugin_that_remembers_what_cannot_be_kept_is_told_at_once(setting):
    for save_every in (2, 1):
        watch = Watch()
        options = {
            **setting,
            "save_every": save_every,
            "output": f"{setting['output']}{save_every}",
        }
        folder = run(compose("grpo", Remembers), observer=watch, **options)
        (note,) = {n for n in watch.notes if "goes on" not in n or save_every == 1}
        assert "keeps a function in state['mine'] that no checkpoint can hold: numbers" in note
        AutoModelForCausalLM.from_pretrained(folder / "model")


# -- names ---------------------------------------------------------------------------------------


def test_runs_that_begin_in_the_same_second_do_not_clash(setting, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(directory.time, "strftime", lambda _: "now")
    del setting["output"]
    folders = []

    def another(step):
        if step == 1:
            folders.append(run("grpo", **setting))

    folders.append(run("grpo", observer=Watch(another), **setting))
    assert [str(folder) for folder in folders] == ["runs/grpo-now-2", "runs/grpo-now"]
    assert all(steps_kept(folder) == [3, 4] for folder in folders)


def test_the_model_of_a_run_that_was_killed_is_its_newest_whole_checkpoint(setting, tmp_path):
    folder = run("grpo", **setting, keep_checkpoints=0)
    shutil.rmtree(folder / "model")
    (folder / "checkpoints" / "step-000004" / "config.json").write_text("{")
    shutil.rmtree(folder / "checkpoints" / "step-000003" / "training")
    again = {**setting, "model": str(folder), "output": str(tmp_path / "again"), "steps": 1}
    watch = Watch()
    run("grpo", observer=watch, **again)
    used = folder / "checkpoints" / "step-000002"
    assert watch.notes[2] == (
        f"run directory '{folder}' holds no model: the run ended before it saved one; its newest "
        f"checkpoint is used, '{used}'"
    )
    assert f'model = "{used}"' in (tmp_path / "again" / "config.toml").read_text()
    with pytest.raises(ModelError, match=f"name its newest checkpoint, '{used}'"):
        run("grpo", **{**setting, "reward": [str(folder)], "output": str(tmp_path / "other")})
