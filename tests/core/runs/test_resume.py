"""A run that was ended goes on, and ends as if nothing had happened: bit for bit."""

import errno
import hashlib
import json
import os
import shutil
import signal

import pytest
import torch
from transformers import AutoModelForCausalLM

import anypo
from anypo import Observer, Plugin, StoppedError, compose, hookimpl, resume, run
from anypo.errors import ConfigError, PluginError, SaveError

PAIRS = [
    {"prompt": f"{n}+1=", "chosen": "2", "rejected": "three", "completion": "2"} for n in range(5)
]
TIMINGS = ("seconds/", "tokens_per_second")


class Watch(Observer):
    """Remembers what it is told, and at one step does something."""

    def __init__(self, step=None, do=None):
        self.notes, self.steps, self.step, self.do = [], [], step, do

    def note(self, text):
        """See `Observer`."""
        self.notes.append(text)

    def reported(self, report):
        """See `Observer`."""
        self.steps.append(report.step)
        if report.step == self.step:
            self.do()


def signalled(number=signal.SIGTERM):
    return lambda: os.kill(os.getpid(), number)


@pytest.fixture
def sampled(letters, model_dir):
    """Options of a run that samples."""
    return {
        **letters,
        "model": model_dir,
        "eval_data": letters["data"],
        "eval_every": 2,
        "steps": 4,
        "prompts_per_step": 2,
        "learning_rate": 1e-2,
        "warmup_steps": 1,
        "device": "cpu",
    }


@pytest.fixture
def given(sampled, tmp_path):
    """Options of a run that learns from pairs of completions."""
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PAIRS))
    return {**sampled, "data": str(path), "eval_data": str(path), "reward": []}


def metrics(folder):
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in row.items() if not k.startswith(TIMINGS)} for row in rows]


def weights(folder, name="model"):
    files = sorted((folder / name).rglob("*.safetensors"))
    assert files
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def same(one, other):
    assert metrics(one) == metrics(other)
    assert weights(one) == weights(other)
    assert (one / "model-ema").is_dir() == (other / "model-ema").is_dir()
    if (one / "model-ema").is_dir():
        assert weights(one, "model-ema") == weights(other, "model-ema") != weights(one)
    assert (one / "samples.jsonl").read_bytes() == (other / "samples.jsonl").read_bytes()


def interrupted(algorithm, options, step=2, do=None, error=StoppedError):
    """What a run raises that something befalls after a step, and what it has noted."""
    watch = Watch(step, do or signalled())
    with pytest.raises(error) as caught:
        run(algorithm, observer=watch, **options)
    return caught.value, watch.notes


SAMPLED = {
    "grpo": {"epochs": 2, "minibatches": 2},
    "dapo+gfpo": {"ema": 0.9},
    "ppo": {},
    "ppo+entropy": {"critic": "shared", "lora_rank": 2},
    "ppo+tis": {"lora_rank": 2, "bema": 1},
    "grpo+tis": {"ref_sync_every": 1, "ref_sync_alpha": 0.5, "optimizer": "adafactor"},
    "minillm": {"teacher": "average", "teacher_decay": 0.5},
    "rloo": {"lora_rank": 2, "optimizer": "sgd", "schedule": "cosine", "ema": 0.5},
    "online_dpo": {
        "dtype": "bfloat16",
        "weights": "bfloat16",
        "optimizer": "adafactor",
        "ema": 0.5,
    },
}
GIVEN = {
    "sft": {"weights": "float32", "schedule": "constant", "bema": 2},
    "dpo": {"precompute_reference": True},
    "kto": {"lora_rank": 2},
    "reward_model": {"ema": 0.9},
}


@pytest.mark.parametrize("algorithm", [*SAMPLED, *GIVEN])
def test_a_run_that_goes_on_ends_as_one_that_was_never_ended(
    algorithm, sampled, given, tmp_path, monkeypatch, scorer_dir
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = {**given, **GIVEN[algorithm]} if algorithm in GIVEN else sampled | SAMPLED[algorithm]
    options |= {"critic_model": scorer_dir} if algorithm == "ppo+tis" else {}
    knobs = {"dapo+gfpo": {"adaptive": True, "adaptive_warmup": 1}, "ppo": {"kl_target": 0.1}}
    stack = compose(algorithm, knobs=knobs.get(algorithm))
    whole = run(stack, **{**options, "output": str(tmp_path / "whole")})
    error, _ = interrupted(stack, options)
    folder = tmp_path / "run"
    assert "goes on from step 2" in str(error)
    assert not (folder / "model").exists()
    assert resume(folder) == folder
    same(whole, folder)


class Draws(Plugin):
    """Uses whatever draws, and remembers all kinds of things."""

    @hookimpl(wrapper=True)
    def rollout(self, prompts, state):
        """Draws."""
        import random

        import numpy as np

        drawn = state.setdefault("drawn", [])
        drawn.append((random.random(), float(np.random.rand()), torch.rand(2)))
        samples = yield
        replayed = state.get("samples", samples)
        state["samples"], state["prompts"] = samples, {"kinds": set(prompts[0].ids)}
        shift = float(sum(one + other + tensor.sum() for one, other, tensor in drawn))
        return [*samples, *[]] if replayed is samples else _shifted(samples, shift)


def _shifted(samples, by):
    from dataclasses import replace

    return [replace(s, reward=s.reward + by * i) for i, s in enumerate(samples)]


def test_plugins_remember_and_everything_draws_as_before(sampled, tmp_path):
    stack = compose("grpo", Draws)
    whole = run(stack, **{**sampled, "output": str(tmp_path / "whole")})
    interrupted(stack, sampled)
    resume(tmp_path / "run", algorithm=stack)
    same(whole, tmp_path / "run")
    with pytest.raises(PluginError, match=r"no plugin 'draws'.*\(algorithm=…\)"):
        resume(tmp_path / "run", steps=9)


def test_it_goes_on_from_the_newest_checkpoint_that_is_whole(sampled, tmp_path):
    whole = run("grpo", **{**sampled, "output": str(tmp_path / "whole")})
    interrupted("grpo", {**sampled, "save_every": 1}, step=3)
    folder = tmp_path / "run"
    (weights,) = (folder / "checkpoints" / "step-000003").glob("model.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "re')
    watch = Watch()
    resume(folder, observer=watch)
    assert "step-000003' is damaged: 'model.safetensors' is not what was saved" in watch.notes[0]
    assert watch.steps == [3, 4]
    same(whole, folder)


def test_without_a_whole_checkpoint_nothing_begins_anew_by_itself(sampled, tmp_path):
    interrupted("grpo", sampled)
    (tmp_path / "run" / "checkpoints" / "step-000002" / "config.json").unlink()
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(SaveError, match=r"no checkpoint in .* is whole: delete them to begin anew"):
        resume(tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_a_run_that_saved_nothing_begins_anew_and_says_so(sampled, tmp_path):
    whole = run("grpo", **{**sampled, "output": str(tmp_path / "whole")})
    error, _ = interrupted("grpo", sampled, step=0)
    assert "SIGTERM before step 1; `anypo run --resume" in str(error)
    watch = Watch()
    resume(tmp_path / "run", observer=watch)
    assert watch.notes[0] == f"'{tmp_path / 'run'}' has no checkpoint: it starts from the beginning"
    assert watch.steps == [0, 1, 2, 3, 4]
    same(whole, tmp_path / "run")


def test_a_run_that_failed_goes_on_where_it_was_saved(sampled, tmp_path):
    whole = run("grpo", **{**sampled, "output": str(tmp_path / "whole")})

    def fail():
        raise RuntimeError("no power")

    _, notes = interrupted("grpo", {**sampled, "save_every": 1}, 3, fail, RuntimeError)
    folder = tmp_path / "run"
    assert notes[-1].endswith(f"`anypo run --resume {folder}` goes on from step 2")
    AutoModelForCausalLM.from_pretrained(folder / "model")
    resume(folder)
    same(whole, folder)


def test_a_finished_run_is_left_as_it_is_unless_it_has_more_steps(sampled, tmp_path):
    longer = {**sampled, "schedule": "constant", "eval_every": 1, "output": str(tmp_path / "more")}
    whole = run("grpo", **{**longer, "steps": 6})
    options = {**sampled, "schedule": "constant", "eval_every": 1, "save_every": 4}
    folder = run("grpo", **options)
    watch = Watch()
    before = weights(folder)
    assert resume(folder, observer=watch) == folder
    assert watch.steps == []
    assert "is finished: all 4 steps are done" in watch.notes[0]
    assert weights(folder) == before
    resume(folder, steps=6)
    same(whole, folder)
    assert "steps = 6" in (folder / "config.toml").read_text()
    with pytest.raises(ConfigError, match=r"steps is 5, but .* has 6: they can only grow"):
        resume(folder, steps=5)


def test_a_schedule_that_more_steps_change_is_told(sampled, tmp_path):
    interrupted("grpo", sampled)
    watch = Watch()
    resume(tmp_path / "run", observer=watch, steps=5, keep_checkpoints=1)
    assert "the learning rate goes on as that of a run of 5 steps" in watch.notes


def test_what_a_run_was_begun_with_is_not_changed(sampled, tmp_path):
    interrupted("grpo", sampled)
    with pytest.raises(
        ConfigError,
        match=r"learning_rate is set, but .* only steps, processes, sharding, save_every",
    ):
        resume(tmp_path / "run", learning_rate=1.0)
    with pytest.raises(ConfigError, match="trains by grpo, not by dapo"):
        resume(tmp_path / "run", algorithm=compose("dapo"))
    with pytest.raises(ConfigError, match=r"holds no run to go on with: it has no config\.toml"):
        resume(tmp_path / "nowhere")
    (tmp_path / "run" / "config.toml").write_text("")
    with pytest.raises(ConfigError, match="it ended before it had begun"):
        resume(tmp_path / "run")


def test_a_run_that_another_process_runs_does_not_go_on(sampled, tmp_path, in_use):
    def used():
        with pytest.raises(BlockingIOError), in_use(tmp_path / "run"):
            pass

    run("grpo", **sampled, observer=Watch(1, used))
    with in_use(tmp_path / "run") as process:
        with pytest.raises(ConfigError, match=r"^another process runs .*run' now: it can go on"):
            resume(tmp_path / "run", steps=5)
        process.kill()  # which is enough to let it go
        process.wait()
        resume(tmp_path / "run", steps=5)


def test_a_file_system_that_cannot_lock_bars_nobody(sampled, tmp_path, in_use, monkeypatch):
    def unable(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.lockf", unable)
    run("grpo", **sampled)
    with in_use(tmp_path / "run"):
        resume(tmp_path / "run", steps=5)


def test_a_reward_data_and_a_model_that_changed_are_told(sampled, tmp_path, model_dir):
    shutil.copytree(model_dir, tmp_path / "model")
    interrupted("grpo", {**sampled, "model": str(tmp_path / "model")})
    for name in ("train.jsonl", "reward.py", "model/generation_config.json"):
        with (tmp_path / name).open("a") as file:
            file.write("\n")
    watch = Watch()
    resume(tmp_path / "run", observer=watch)
    changed = [note.split(": ", 1)[1] for note in watch.notes if "has changed" in note]
    assert changed == [
        f"{option} '{tmp_path / name}' has changed"
        for option, name in (
            ("data", "train.jsonl"),
            ("eval_data", "train.jsonl"),
            ("model", "model"),
            ("reward", "reward.py"),
        )
    ]


def test_another_number_of_processes_is_told(sampled, tmp_path):
    interrupted("grpo", sampled)
    checkpoint = tmp_path / "run" / "checkpoints" / "step-000002"
    numbers = checkpoint / "training" / "training.json"
    numbers.write_text(numbers.read_text().replace('"processes": 1', '"processes": 2'))
    from anypo.support.saving import MANIFEST, _described

    manifest = json.loads((checkpoint / MANIFEST).read_text())
    manifest["files"]["training/training.json"] = _described(numbers)
    (checkpoint / MANIFEST).write_text(json.dumps(manifest))
    watch = Watch()
    resume(tmp_path / "run", observer=watch)
    assert "processes were 2 and are 1: what is drawn at random will be other" in watch.notes


# -- signals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "status"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_signal_ends_a_run_after_the_step_and_says_how_to_go_on(sampled, tmp_path, name, status):
    before = signal.getsignal(getattr(signal, name))
    error, _ = interrupted("grpo", sampled, do=signalled(getattr(signal, name)))
    assert error.exit_code == status
    told = f"stopped by {name} after step 2 of 4; `anypo run --resume {tmp_path / 'run'}`"
    assert str(error) == f"{told} goes on from step 2"
    assert [row["step"] for row in metrics(tmp_path / "run")] == [0, 1, 2]
    assert signal.getsignal(getattr(signal, name)) is before


def test_an_interrupt_is_a_keyboard_interrupt_that_says_how_to_go_on(sampled, tmp_path):
    interrupt = signalled(signal.SIGINT)
    error, _ = interrupted("grpo", sampled, do=interrupt, error=KeyboardInterrupt)
    assert "stopped by SIGINT after step 2 of 4; `anypo run --resume" in str(error)
    assert (tmp_path / "run" / "checkpoints" / "step-000002").is_dir()


def test_a_second_interrupt_ends_at_once_and_leaves_nothing_half_written(
    sampled, tmp_path, monkeypatch
):
    monkeypatch.setattr("anypo.runs.stops.ONE", -1.0)

    def twice():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)

    _, notes = interrupted("grpo", {**sampled, "save_every": 1}, 2, twice, KeyboardInterrupt)
    assert not [note for note in notes if "step 2" in note]
    folder = tmp_path / "run"
    assert sorted(path.name for path in folder.iterdir()) == [
        ".in-use",
        "checkpoints",
        "config.toml",
        "metrics.jsonl",
        "plugins.lock.json",
        "samples.jsonl",
    ]
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-000001"]


def test_a_signal_in_the_last_step_ends_a_run_that_is_finished(sampled, tmp_path):
    error, _ = interrupted("grpo", sampled, step=4)
    assert "stopped by SIGTERM after all 4 steps; the model is in" in str(error)
    AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")


def test_the_public_names_are_there():
    assert anypo.resume is resume
    assert issubclass(anypo.StoppedError, anypo.AnypoError)
