import copy
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GenerationConfig,
)

from anypo import Engine, Plugin, Transformers, compose, hookimpl, run
from anypo.errors import ConfigError, DataError, ModelError, RewardError
from anypo.models.load import has_scalar_head, load_config
from anypo.rewards.load import load_reward
from anypo.runs.observer import Observer
from anypo.runs.options import RunConfig
from anypo.runs.recipe import read_recipe
from anypo.sampling.generate import TransformersEngine
from anypo_tasks.addition.task import Addition

ORDINARY = re.compile("since step|prompts of|[0-9]+ of [0-9]+ held-out prompts")  # of these data

TIMINGS = ("seconds/", "tokens_per_second")


@pytest.fixture
def setting(letters, model_dir):
    """Options of a run of a few seconds on data and a reward from files."""
    return {
        **letters,
        "model": model_dir,
        "eval_data": letters["data"],
        "steps": 3,
        "prompts_per_step": 2,
        "learning_rate": 3e-3,
        "device": "cpu",
    }


def rows(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def untimed(row):
    return {name: value for name, value in row.items() if not name.startswith(TIMINGS)}


def test_a_run_leaves_its_metrics_samples_config_and_model(setting):
    folder = run("grpo", **setting)
    metrics = rows(folder / "metrics.jsonl")
    assert [row["step"] for row in metrics] == [0, 1, 2, 3]
    assert "eval/score" in metrics[0]
    assert "eval/score" in metrics[-1]
    assert {
        "reward/mean",
        "reward/score",
        "loss",
        "loss/policy",
        "loss/kl",
        "ratio/mean",
        "clip/fraction",
        "kl/ref",
        "entropy",
        "length/mean",
        "length/truncated",
        "tokens_per_second",
        "seconds/rollout",
        "seconds/update",
    } <= metrics[1].keys()
    samples = rows(folder / "samples.jsonl")
    trained = [(row["step"], row["group"]) for row in samples if row["phase"] == "train"]
    assert trained == [(1, g) for g in (0, 1) for _ in range(8)]
    AutoModelForCausalLM.from_pretrained(folder / "model")
    assert AutoTokenizer.from_pretrained(folder / "model").chat_template


def test_held_out_completions_are_written_down_set_by_set(setting):
    sets = [f"{name}={setting['data']}" for name in ("easy", "hard")]
    folder = run("grpo", **{**setting, "eval_data": sets, "eval_samples": 2, "eval_every": 2})
    found = [row for row in rows(folder / "samples.jsonl") if row["phase"] == "eval"]
    of_step = [(name, group) for name in ("easy", "hard") for group in (0, 0, 1, 1)]
    assert [(row["set"], row["group"]) for row in found if row["step"] == 2] == of_step
    assert {row["step"] for row in found} == {0, 2, 3}
    metrics = rows(folder / "metrics.jsonl")
    for step in (0, 2, 3):
        scores = [row["reward"] for row in found if (row["step"], row["set"]) == (step, "hard")]
        assert metrics[step]["eval/hard/score"] == pytest.approx(sum(scores) / 4, rel=1e-5)
    assert found[0]["tokens"] <= setting["max_completion_length"]
    assert found[0]["prompt"] == "ab"


def test_the_model_learns_what_the_reward_asks_for(setting):
    folder = run("grpo", **{**setting, "steps": 14, "minibatches": 2, "learning_rate": 1e-2})
    metrics = rows(folder / "metrics.jsonl")
    assert metrics[-1]["reward/mean"] > metrics[1]["reward/mean"] + 0.2


def test_the_same_seed_gives_the_same_metrics(setting, tmp_path):
    first = run("grpo", **setting)
    second = run("grpo", **{**setting, "output": str(tmp_path / "again")})
    other = run("grpo", **{**setting, "output": str(tmp_path / "other"), "seed": 1})
    one, two, three = (
        [untimed(r) for r in rows(f / "metrics.jsonl")] for f in (first, second, other)
    )
    assert one == two
    assert one != three


def test_config_toml_repeats_the_run(setting, tmp_path):
    algorithm = compose("grpo", knobs={"group_size": 4, "kl_coef": 0})
    first = run(algorithm, **setting, minibatches=2)
    recipe = read_recipe(str(first / "config.toml"))
    assert "output" not in recipe.options
    repeated = run(
        compose(recipe.algorithm, knobs=recipe.knobs, hooks=recipe.hooks),
        **recipe.options,
        output=str(tmp_path / "again"),
    )
    one, two = ([untimed(r) for r in rows(f / "metrics.jsonl")] for f in (first, repeated))
    assert one == two


def test_checkpoints_are_models(setting):
    folder = run("grpo", **setting, save_every=2)
    checkpoint = folder / "checkpoints" / "step-000002"
    AutoModelForCausalLM.from_pretrained(checkpoint)


def test_an_error_on_the_way_keeps_the_model_trained_so_far(setting, tmp_path):
    (tmp_path / "reward.py").write_text(
        "calls = []\n"
        "def score(completions, **_):\n"
        "    calls.append(1)\n"
        "    return [1 / (len(calls) < 4)] * len(completions)\n"
    )
    with pytest.raises(
        RewardError, match=r"^step 3: reward 'score' raised ZeroDivisionError.*model"
    ):
        run("grpo", **setting)
    AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")
    assert [row["step"] for row in rows(tmp_path / "run" / "metrics.jsonl")] == [0, 1, 2]


def test_bfloat16_computes_in_it_and_keeps_the_weights_in_float32(setting):
    folder = run("grpo", **setting, dtype="bfloat16")
    assert AutoModelForCausalLM.from_pretrained(folder / "model").dtype == torch.float32
    assert rows(folder / "metrics.jsonl")[-1]["step"] == 3


def refused(setting, error, match, algorithm="grpo", **changes):
    options = {**setting, **changes}
    there = Path(options["output"]).exists()
    with pytest.raises(error, match=match):
        run(algorithm, **options)
    assert Path(options["output"]).exists() == there


def test_a_directory_that_holds_another_run_is_refused(setting, tmp_path):
    run("grpo", **setting)
    refused(setting, ConfigError, "holds another run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    refused(setting, ConfigError, "no empty directory", output=str(tmp_path / "mine"))


def test_a_run_that_was_killed_before_it_began_bars_no_other(setting, tmp_path, monkeypatch):
    def killed(*_):
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr("anypo.runs.directory.write_recipe", killed)
        with pytest.raises(SystemExit):
            run("grpo", **setting)
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {".in-use", "plugins.lock.json"}
    (tmp_path / "run" / "config.toml").touch()  # as versions before did
    run("grpo", **setting | {"steps": 1})
    assert (tmp_path / "run" / "model").is_dir()


def test_of_two_runs_that_begin_at_once_one_has_the_directory(setting, tmp_path, in_use):
    (tmp_path / "run").mkdir()
    with in_use(tmp_path / "run"), pytest.raises(ConfigError, match="holds another run"):
        run("grpo", **setting)
    run("grpo", **setting | {"steps": 1})


def test_data_without_a_reward_are_refused(setting):
    refused(setting, ConfigError, "no reward", reward=[])


def test_a_model_directory_without_a_tokenizer_is_refused(setting, tmp_path, model_dir):
    (tmp_path / "bare").mkdir()
    config = AutoModelForCausalLM.from_pretrained(model_dir).config
    config.save_pretrained(tmp_path / "bare")
    refused(setting, ModelError, "holds no tokenizer", model=str(tmp_path / "bare"))


def test_a_missing_model_is_refused(setting, tmp_path):
    refused(setting, ModelError, "^there is no directory", model=str(tmp_path / "nowhere"))


def test_a_prompt_that_leaves_no_room_in_the_context_is_refused(setting):
    refused(
        setting,
        DataError,
        "the prompts of 2 have more than 1 tokens, the shortest 2: raise max_prompt_length",
        max_prompt_length=1,
    )
    refused(setting, ConfigError, "attends to 512 tokens", max_completion_length=512)


def test_a_missing_column_is_refused_before_the_run_begins(setting, tmp_path):
    refused(setting, DataError, "needs a column 'answer'", reward=["exact"])
    assert not (tmp_path / "run").exists()


def test_a_gpu_that_is_not_there_is_refused(setting):
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    refused(setting, ConfigError, "no usable GPU", device="cuda")


class Notes(Observer):
    """Remembers what was said beside the ordinary."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        """See `Observer`."""
        if not ORDINARY.match(text):
            self.notes.append(text)


def test_clipping_that_cannot_matter_is_said_once(setting, tmp_path):
    one, several = Notes(), Notes()
    once = {**setting, "steps": 1, "minibatches": 1, "warmup_steps": 0}
    run("grpo", observer=one, **once)
    run("grpo", observer=several, **{**once, "output": str(tmp_path / "other"), "epochs": 2})
    assert len(one.notes) == 1
    assert "clipping has no effect" in one.notes[0]
    assert several.notes == []


@pytest.mark.parametrize(("warmup_steps", "said"), [(2, False), (3, True), (10, True)])
def test_a_warm_up_that_outlasts_the_run_is_said(setting, warmup_steps, said):
    observer = Notes()
    run("grpo", observer=observer, **setting, warmup_steps=warmup_steps, epochs=2)
    told = [f"rises for {warmup_steps} steps, but the run has 3" in note for note in observer.notes]
    assert told == [True] * said


def test_balancing_a_model_without_experts_is_refused(setting):
    refused(
        setting,
        ConfigError,
        "router_loss is set, but no load-balancing loss .* is known",
        router_loss=0.1,
    )
    assert not Path(setting["output"]).exists()


class Talks(Plugin):
    """Has something to say."""

    @hookimpl(wrapper=True)
    def rollout(self, state):
        """As below."""
        state.setdefault("notes", []).append("it rains")
        return (yield)

    @hookimpl(wrapper=True)
    def advantage(self, state):
        """As below."""
        state.setdefault("notes", []).append("it pours")
        return (yield)


def test_what_a_plugin_notes_is_said_once(setting):
    observer = Notes()
    run(compose("grpo", Talks), observer=observer, **setting, warmup_steps=0, epochs=2)
    assert observer.notes == ["it rains", "it pours"]


@pytest.mark.parametrize(
    ("option", "value"),
    [("critic", "shared"), ("critic_learning_rate", 1e-3), ("critic_model", ".")],
)
def test_options_of_a_model_that_the_algorithm_lacks_are_refused(setting, option, value):
    refused(setting, ConfigError, f"{option} is set, but grpo has no critic", **{option: value})


def test_a_share_without_an_interval_is_refused(setting):
    refused(setting, ConfigError, "not ref_sync_every", ref_sync_alpha=0.5)


def test_an_evaluation_interval_without_an_evaluation_is_refused(setting):
    refused(setting, ConfigError, "no held-out prompts", eval_data=None, eval_every=5)


def test_the_built_in_task_brings_the_reward_that_the_algorithm_needs(
    quick_cache, model_dir, tmp_path
):
    options = {"steps": 1, "prompts_per_step": 2, "max_completion_length": 8}
    folder = run("grpo_process", model=model_dir, output=str(tmp_path / "run"), **options)
    assert "reward/right_steps" in rows(folder / "metrics.jsonl")[-1]


def test_what_fails_before_the_first_step_is_not_told_as_of_it(setting, tmp_path):
    (tmp_path / "reward.py").write_text("def score(completions, **_):\n    return 1 / 0\n")
    with pytest.raises(RewardError, match=r"^the evaluation before step 1: reward 'score' raised"):
        run("grpo", **setting)
    AutoModelForCausalLM.from_pretrained(tmp_path / "run" / "model")


def test_an_unwritable_cache_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="cannot be written"):
        run("grpo", output=str(tmp_path / "run"))


def test_what_fails_before_the_first_step_is_not_said_of_it(setting, tmp_path):
    (tmp_path / "held_out.jsonl").write_text('{"prompt": "x"}\n')
    (tmp_path / "picky.py").write_text(
        "def score(prompts, completions, **_):\n    return [1 / (p != 'x') for p in prompts]\n"
    )
    given = {"reward": [f"{tmp_path}/picky.py:score"], "eval_data": f"{tmp_path}/held_out.jsonl"}
    words = "^the evaluation before step 1: reward 'score' raised ZeroDivisionError"
    with pytest.raises(RewardError, match=words):
        run("grpo", **{**setting, **given})


def test_an_interrupted_run_keeps_its_model_and_says_where(setting):
    class Interrupts(Observer):
        def reported(self, report):
            if report.step == 2:
                raise KeyboardInterrupt

        def note(self, text):
            self.said = text

    observer = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        run("grpo", observer=observer, **setting, epochs=2)
    assert "the model so far is in" in observer.said
    AutoModelForCausalLM.from_pretrained(f"{setting['output']}/model")


class Drifting(Engine):
    """Means the same model until it is given other weights."""

    def __init__(self, engine):
        self.engine, self.by = engine, 0.0

    def sample(self, request):
        drawn = self.engine.sample(request)
        return [replace(s, logprobs=[x + self.by for x in s.logprobs]) for s in drawn]

    def sync(self, model):
        self.by = 0.5

    def close(self):
        pass


def test_a_sampler_that_drifts_from_the_trainer_is_told_of_once(setting, monkeypatch):
    start = Transformers.start
    monkeypatch.setattr(Transformers, "start", lambda *given: Drifting(start(*given)))
    observer = Notes()
    run("grpo", observer=observer, **setting, epochs=2, warmup_steps=0)
    (note,) = observer.notes
    assert note.startswith("step 2: the log-prob of a token is 0.5 nats from the sampler's")


CONFIGURATION = """
from transformers import Qwen3Config


class OwnConfig(Qwen3Config):
    model_type = "own-kind"
"""
MODEL = """
from transformers import Qwen3ForCausalLM

from .configuration_own import OwnConfig


class OwnForCausalLM(Qwen3ForCausalLM):
    config_class = OwnConfig
"""


@pytest.fixture
def own_code(model_dir, tmp_path):
    """A model directory that holds the code of its configuration and model."""
    folder = shutil.copytree(model_dir, tmp_path / "own")
    (folder / "configuration_own.py").write_text(CONFIGURATION)
    (folder / "modeling_own.py").write_text(MODEL)
    config = json.loads((folder / "config.json").read_text())
    classes = {
        "AutoConfig": "configuration_own.OwnConfig",
        "AutoModelForCausalLM": "modeling_own.OwnForCausalLM",
    }
    config |= {"model_type": "own-kind", "auto_map": classes}
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_code_that_comes_with_a_model_is_run_if_it_is_trusted(setting, own_code, tmp_path):
    refused(setting, ModelError, "contains custom code", model=own_code)
    first = run("grpo", **{**setting, "model": own_code, "steps": 1}, trust_remote_code=True)
    again = {"model": str(first), "steps": 1, "output": str(tmp_path / "again")}
    run("grpo", **{**setting, **again}, trust_remote_code=True)


# -- completions of a data set -------------------------------------------------------------------

PAIR = {"prompt": "1+1=", "chosen": "2", "rejected": "three", "completion": "2"}


@pytest.fixture
def offline(setting, tmp_path):
    """Options of a run that learns from three pairs, or from the chosen completions alone."""
    rows = [{**PAIR, "prompt": f"{n}+1=", "answer": "2"} for n in range(3)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    del setting["reward"]
    return {**setting, "data": str(path), "eval_data": str(path), "steps": 2}


def last_of(folder):
    return rows(folder / "metrics.jsonl")[-1]


@pytest.mark.parametrize("algorithm", ["sft", "dpo", "kto", "reward_model"])
def test_a_run_on_given_completions_has_a_held_out_loss_and_no_reward(offline, algorithm):
    folder = run(algorithm, **offline)
    first, *_, last = rows(folder / "metrics.jsonl")
    assert {"eval/loss", "eval/loss/policy"} <= first.keys() & last.keys()
    assert last["eval/loss"] < first["eval/loss"]
    assert not [name for name in last if name.startswith(("reward/", "eval/score"))]
    assert {row["reward"] for row in rows(folder / "samples.jsonl")} == {None}


def test_kto_finds_another_prompt_whatever_a_step_draws(offline):
    folder = run("kto", **{**offline, "prompts_per_step": 1, "minibatches": 1, "steps": 4})
    assert last_of(folder)["step"] == 4
    assert len(rows(folder / "samples.jsonl")) == 2  # of a step


def test_old_log_probs_that_no_ratio_needs_are_no_reason_to_speak_of_clipping(offline):
    observer = Notes()
    run("kto", observer=observer, **offline, minibatches=1, warmup_steps=0)
    assert observer.notes == []


def test_a_reward_scores_what_the_model_writes_beside_the_held_out_loss(offline):
    folder = run("sft", **{**offline, "reward": ["exact", "length=0.1"]})
    metrics = rows(folder / "metrics.jsonl")
    names = {"eval/loss", "eval/score", "eval/score/exact", "eval/score/length"}
    assert names <= metrics[0].keys() & metrics[-1].keys()
    assert not [name for name in metrics[1] if name.startswith("reward/")]


def asked_of(monkeypatch):
    """The requests that the sampler gets, and what it answers."""
    asked, sample = [], TransformersEngine.sample

    def noting(engine, request):
        asked.append((request, sample(engine, request)))
        return asked[-1][1]

    monkeypatch.setattr(TransformersEngine, "sample", noting)
    return asked


def test_held_out_completions_may_be_drawn_otherwise_than_those_to_learn_from(setting, monkeypatch):
    asked = asked_of(monkeypatch)
    options = {"eval_temperature": 0.5, "eval_top_p": 0.9, "eval_top_k": 40, "eval_stop": ["a"]}
    run("grpo", **setting, **options, temperature=0.8)
    drawn = {
        (request.n, request.temperature, request.top_p, request.top_k, request.stop)
        for request, _ in asked
        if len(request.prompts) == 2 and request.n != 2
    }
    assert drawn == {(8, 0.8, 1.0, 0, ()), (1, 0.5, 0.9, 40, ("a",))}


def test_evaluated_greedily_a_model_says_the_same_every_time(setting, monkeypatch):
    asked = asked_of(monkeypatch)
    run("grpo", **{**setting, "learning_rate": 1e-9}, eval_top_k=1, eval_every=1)
    greedy = [[s.completion_ids for s in samples] for r, samples in asked if r.top_k == 1]
    assert len(greedy) == 4
    assert greedy == greedy[:1] * 4


def test_scored_is_what_stands_before_the_text_that_stops_a_completion(setting, tmp_path):
    code = "def score(completions, **_): return [any(map(str.islower, t)) for t in completions]"
    (tmp_path / "lower.py").write_text(code)
    options = {**setting, "reward": [f"{tmp_path / 'lower.py'}:score"], "eval_every": 1}
    scores = [
        [row["eval/score"] for row in rows(folder / "metrics.jsonl")]
        for folder in (
            run("grpo", **{**options, "output": str(tmp_path / name)}, eval_stop=stop)
            for name, stop in (
                ("whole", []),
                ("stopped", [chr(n) for n in range(256) if chr(n).islower()]),
            )
        )
    ]
    assert max(scores[0]) > 0
    assert set(scores[1]) == {0.0}


@pytest.mark.parametrize("algorithm", ["sft", "reward_model"])
def test_config_toml_repeats_a_run_on_given_completions(offline, tmp_path, algorithm):
    options = {**offline, "data_epochs": 2, "prompts_per_step": 2, "eval_data": None}
    del options["steps"]
    first = run(algorithm, **options)
    recipe = read_recipe(str(first / "config.toml"))
    assert recipe.options["steps"] == 3
    assert not {"data_epochs", "max_rounds", "eval_every"} & recipe.options.keys()
    repeated = run(algorithm, **recipe.options, output=str(tmp_path / "again"))
    one, two = ([untimed(r) for r in rows(f / "metrics.jsonl")] for f in (first, repeated))
    assert one == two
    assert len(one) == 3


def test_a_reward_that_nothing_would_read_is_refused(offline):
    changes = {"algorithm": "sft", "eval_data": None, "reward": ["length"]}
    refused(offline, ConfigError, "reward is set, but sft learns without one", **changes)


@pytest.mark.parametrize(
    ("option", "value", "lack"),
    [
        ("reward", ["length"], "completions to score"),
        ("reward_timeout", 3.0, "completions to score"),
        ("temperature", 0.5, "probabilities of tokens"),
        ("max_rounds", 3, "sampling in its rollout"),
    ],
)
def test_options_of_what_a_model_that_scores_texts_lacks_are_refused(offline, option, value, lack):
    match = f"^{option} is set, but reward_model has no {lack}, so nothing would read it$"
    refused(offline, ConfigError, match, algorithm="reward_model", **{option: value})


@pytest.mark.parametrize("algorithm", ["sft", "dpo", "kto"])
def test_rounds_are_refused_where_nothing_is_sampled(offline, algorithm):
    match = f"max_rounds is set, but {algorithm} has no sampling in its rollout"
    refused(offline, ConfigError, match, algorithm=algorithm, max_rounds=3)


def test_two_answers_to_how_long_are_refused(setting):
    refused(setting, ConfigError, "steps and data_epochs are both set", data_epochs=2)


def test_without_steps_the_data_say_how_long(offline):
    del offline["steps"]
    folder = run("sft", **offline, data_epochs=3, minibatches=1)
    assert last_of(folder)["step"] == 5  # 3 passes over 3 rows, 2 at a time


# -- one run after the other ---------------------------------------------------------------------


def test_what_was_trained_from_the_built_in_model_goes_on_as_it_would(
    quick_cache, setting, tmp_path
):
    before = run("sft", steps=1, prompts_per_step=4, output=str(tmp_path / "before"))
    assert {"eval/loss", "eval/score"} <= last_of(before).keys()
    options = {name: setting[name] for name in ("data", "reward", "output")}
    after = run("grpo", model=str(before), steps=1, prompts_per_step=2, **options)
    recipe = read_recipe(str(after / "config.toml"))
    assert recipe.options["model"] == str(before / "model")
    assert recipe.options["learning_rate"] == Addition.options["learning_rate"]
    assert recipe.options["max_completion_length"] == Addition.options["max_completion_length"]


def test_another_model_is_trained_with_the_defaults_of_all(setting):
    del setting["learning_rate"]
    recipe = read_recipe(str(run("grpo", **{**setting, "steps": 1}) / "config.toml"))
    assert recipe.options["learning_rate"] == RunConfig().learning_rate
    assert recipe.options["minibatches"] == RunConfig().minibatches


def test_a_trained_reward_model_rewards_another_run(offline, tmp_path):
    judge = run("reward_model", **{**offline, "output": str(tmp_path / "judge")})
    assert has_scalar_head(load_config(str(judge / "model")))
    folder = run("grpo", **{**offline, "reward": [f"{judge}=2"], "steps": 1})
    metrics = rows(folder / "metrics.jsonl")
    assert metrics[1]["reward/mean"] == pytest.approx(2 * metrics[1]["reward/judge"], rel=1e-4)
    sample, *_ = rows(folder / "samples.jsonl")
    text = sample["completion"].removesuffix("<|end|>")
    (score,) = load_reward(str(judge)).function([sample["prompt"]], [text])
    assert score == pytest.approx(sample["scores"]["judge"], abs=1e-4)


def test_a_critic_starts_from_a_trained_reward_model(offline, tmp_path):
    judge = run("reward_model", **{**offline, "output": str(tmp_path / "judge")})
    options = {**offline, "reward": [str(judge)], "steps": 2, "learning_rate": 1e-2}
    losses = []
    for name, start in (("cold", None), ("warm", str(judge))):
        output = tmp_path / name
        folder = run("ppo", **{**options, "output": str(output), "critic_model": start})
        losses.append(rows(folder / "metrics.jsonl")[1]["loss/value"])
    assert losses[0] != losses[1]
    recipe = read_recipe(str(tmp_path / "warm" / "config.toml"))
    assert recipe.options["critic_model"] == str(judge / "model")
    lock = json.loads((tmp_path / "warm" / "plugins.lock.json").read_text())
    assert "critic_model" in [row["option"] for row in lock["inputs"]]


def test_a_critic_model_that_does_not_fit_is_refused_before_the_run_begins(offline, tmp_path):
    scored = {**offline, "reward": ["length"]}
    refused(scored, ConfigError, "does not score texts", "ppo", critic_model=offline["model"])
    refused(scored, ModelError, "no directory", "ppo", critic_model=str(tmp_path / "nowhere"))


def test_a_model_that_scores_texts_is_not_trained_to_write_them(offline, tmp_path):
    judge = run("reward_model", **{**offline, "output": str(tmp_path / "judge"), "steps": 1})
    refused(offline, ModelError, "scores texts, but one that contin", "sft", model=str(judge))


def test_a_run_that_saved_no_model_is_no_model(setting, tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.toml").write_text("")
    match = "holds no model: the run ended before it saved one"
    refused(setting, ModelError, match, model=str(tmp_path / "broken"))
    refused(setting, ModelError, match, reward=[str(tmp_path / "broken")])


def test_a_sampler_of_a_tiny_model_starts_on_one_thread(setting, monkeypatch):
    started, start = [], Transformers.start

    def watched(self, model, runtime, max_length):
        started.append((torch.get_num_threads(), max_length))
        return start(self, model, runtime, max_length)

    monkeypatch.setattr(Transformers, "start", watched)
    torch.set_num_threads(2)
    try:
        run("grpo", **setting, max_prompt_length=500)
        assert started == [(1, 508)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


# -- ends and padding ----------------------------------------------------------------------------

# It ends replies with a token that the model it comes with never ended anything with.
NEW_END = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|system|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture
def chatting(model_dir, tokenizer, tmp_path):
    """Options of a run on a conversation, of a model whose chat template has that end."""
    folder = tmp_path / "base"
    shutil.copytree(model_dir, folder)
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.chat_template, tokenizer.pad_token = NEW_END, None
    tokenizer.save_pretrained(folder)
    asked = [{"role": "user", "content": "1+1"}]
    replies = {"chosen": "2", "rejected": "three"}
    row = {side: [{"role": "assistant", "content": text}] for side, text in replies.items()}
    data = tmp_path / "chat.jsonl"
    data.write_text(json.dumps({"prompt": asked, "completion": row["chosen"], **row}))
    fixed = {"prompts_per_step": 1, "learning_rate": 3e-3, "max_completion_length": 20}
    return {"model": str(folder), "data": str(data), "output": str(tmp_path / "run"), **fixed}


def test_whoever_loads_the_saved_model_ends_where_it_learnt_to_end(chatting):
    saved = run("sft", **chatting, steps=20) / "model"
    tokenizer = AutoTokenizer.from_pretrained(saved)
    asked = [{"role": "user", "content": "1+1"}]
    ids = tokenizer.apply_chat_template(asked, add_generation_prompt=True, return_tensors="pt")
    model = AutoModelForCausalLM.from_pretrained(saved)
    answer = model.generate(**ids, max_new_tokens=20, do_sample=False)[0]
    assert tokenizer.decode(answer).endswith("<|assistant|>2<|system|>")


THINKING = (
    NEW_END.removesuffix("{% endif %}") + "{% if thinks is false %}()\n{% endif %}{% endif %}"
)


def test_values_of_a_chat_template_reach_prompts_and_stay_with_the_model(chatting, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(chatting["model"])
    tokenizer.chat_template = THINKING
    tokenizer.save_pretrained(chatting["model"])
    options = {"reward": ["length"], "steps": 1, "chat_template_kwargs": {"thinks": False}}
    folder = run("grpo", **chatting, **options)
    asked = [{"role": "user", "content": "1+1"}]
    saved = AutoTokenizer.from_pretrained(folder / "model")
    text = saved.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert text.endswith("<|assistant|>()\n")
    options = read_recipe(str(folder / "config.toml")).options
    assert options["chat_template_kwargs"] == {"thinks": False}


def test_the_sampler_ends_where_the_model_learnt_to_end(chatting, tmp_path):
    learnt = run("sft", **chatting, steps=20)
    GenerationConfig().save_pretrained(learnt / "model")  # as if somebody else had trained it
    more = {"model": str(learnt), "reward": ["length"], "output": str(tmp_path / "more")}
    folder = run("grpo", **{**chatting, **more}, steps=1, temperature=0.01)
    sample, *_ = rows(folder / "samples.jsonl")
    assert sample["completion"] == "2<|system|>"
    assert not sample["truncated"]


def test_a_saved_reward_model_is_read_by_everybody_as_it_was_trained(chatting):
    saved = run("reward_model", **chatting, steps=2) / "model"
    tokenizer = AutoTokenizer.from_pretrained(saved)
    model = AutoModelForSequenceClassification.from_pretrained(saved)
    row = json.loads(Path(chatting["data"]).read_text())
    given = tokenizer.apply_chat_template(
        [row["prompt"] + row["chosen"], row["prompt"] + row["rejected"]],
        padding=True,
        return_tensors="pt",
        tokenizer_kwargs={"padding_side": "right"},
    )
    with torch.no_grad():
        theirs = model(**given).logits.squeeze(-1).tolist()
    ours = load_reward(str(saved)).function([row["prompt"]] * 2, [row["chosen"], row["rejected"]])
    assert ours == pytest.approx(theirs, abs=1e-5)
