import json

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from anypo import compose, run
from anypo.config import read_recipe
from anypo.errors import ConfigError, DataError, ModelError, RewardError

TIMINGS = ("seconds/", "tokens_per_second")


@pytest.fixture
def setting(tmp_path, model_dir):
    """Options of a run of a few seconds on data and a reward from files."""
    (tmp_path / "train.jsonl").write_text('{"prompt": "ab"}\n{"prompt": "cd"}\n')
    (tmp_path / "reward.py").write_text(
        "def score(completions, **_):\n"
        "    return [sum(byte < 'n' for byte in text) / 8 for text in completions]\n"
    )
    return {
        "model": model_dir,
        "data": str(tmp_path / "train.jsonl"),
        "reward": [f"{tmp_path / 'reward.py'}:score"],
        "eval_data": str(tmp_path / "train.jsonl"),
        "steps": 3,
        "prompts_per_step": 2,
        "max_completion_length": 8,
        "learning_rate": 3e-3,
        "device": "cpu",
        "output": str(tmp_path / "run"),
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
    assert samples[0].keys() >= {"step", "prompt", "completion", "reward", "scores"}
    AutoModelForCausalLM.from_pretrained(folder / "model")
    assert AutoTokenizer.from_pretrained(folder / "model").chat_template


def test_the_model_learns_what_the_reward_asks_for(setting):
    folder = run("grpo", **{**setting, "steps": 40, "prompts_per_step": 4})
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
        compose(*recipe.algorithm.split("+"), knobs=recipe.knobs, hooks=recipe.hooks),
        **recipe.options,
        output=str(tmp_path / "again"),
    )
    one, two = ([untimed(r) for r in rows(f / "metrics.jsonl")] for f in (first, repeated))
    assert one == two


def test_checkpoints_are_models(setting):
    folder = run("grpo", **setting, save_every=2)
    checkpoint = folder / "checkpoints" / "step-000002"
    AutoModelForCausalLM.from_pretrained(checkpoint)
    assert torch.load(checkpoint / "state.pt") == {"state": {}}


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


def refused(setting, error, match, **changes):
    with pytest.raises(error, match=match):
        run("grpo", **{**setting, **changes})


def test_a_directory_that_holds_another_run_is_refused(setting, tmp_path):
    run("grpo", **setting)
    refused(setting, ConfigError, "holds another run")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("precious")
    refused(setting, ConfigError, "no empty directory", output=str(tmp_path / "mine"))


def test_data_without_a_reward_are_refused(setting):
    refused(setting, ConfigError, "no reward", reward=[])


def test_a_model_directory_without_a_tokenizer_is_refused(setting, tmp_path, model_dir):
    (tmp_path / "bare").mkdir()
    config = AutoModelForCausalLM.from_pretrained(model_dir).config
    config.save_pretrained(tmp_path / "bare")
    refused(setting, ModelError, "holds no tokenizer", model=str(tmp_path / "bare"))


def test_a_missing_model_is_refused(setting, tmp_path):
    refused(setting, ModelError, "does not load", model=str(tmp_path / "nowhere"))


def test_a_prompt_that_leaves_no_room_in_the_context_is_refused(setting):
    refused(setting, DataError, "row 1.*has 2 tokens, the limit is 1", max_prompt_length=1)
    refused(setting, ConfigError, "attends to 512 tokens", max_completion_length=512)


def test_a_missing_column_is_refused_before_the_run_begins(setting, tmp_path):
    refused(setting, DataError, "needs a column 'answer'", reward=["exact"])
    assert not (tmp_path / "run").exists()


def test_a_gpu_that_is_not_there_is_refused(setting):
    if torch.cuda.is_available():
        pytest.skip("this machine has one")
    refused(setting, ConfigError, "no usable GPU", device="cuda")


def test_clipping_that_cannot_matter_is_said_once(setting):
    from anypo.launch import Silent

    class Notes(Silent):
        def __init__(self):
            self.notes = []

        def note(self, text):
            self.notes.append(text)

    one, several = Notes(), Notes()
    run("grpo", observer=one, **{**setting, "steps": 1})
    run("grpo", observer=several, **{**setting, "output": None, "epochs": 2, "steps": 1})
    assert len(one.notes) == 1
    assert "clipping has no effect" in one.notes[0]
    assert several.notes == []


@pytest.mark.parametrize(
    ("option", "value"), [("critic", "shared"), ("critic_learning_rate", 1e-3)]
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


def test_an_unwritable_cache_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match="cannot be written"):
        run("grpo", output=str(tmp_path / "run"))


def test_an_interrupted_run_keeps_its_model_and_says_where(setting):
    from anypo.launch import Silent

    class Interrupts(Silent):
        def reported(self, step, metrics):
            if step == 2:
                raise KeyboardInterrupt

        def note(self, text):
            self.said = text

    observer = Interrupts()
    with pytest.raises(KeyboardInterrupt):
        run("grpo", observer=observer, **setting, epochs=2)
    assert "the model so far is in" in observer.said
    AutoModelForCausalLM.from_pretrained(f"{setting['output']}/model")
