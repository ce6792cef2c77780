"""Runs in which an environment answers the policy."""

import json
from functools import partial

import pytest

from anypo import Observer, SamplerError, collect, compose, evaluate, resume, run
from anypo.errors import ConfigError, DataError, PluginError
from anypo.runs.options import make_config
from anypo.runs.preview import previews
from anypo_tasks.addition.model import build_model, build_tokenizer
from anypo_tasks.calculator.problems import CHAT_TEMPLATE

ENVIRONMENTS = '''\
from anypo import Environment, Turn


class Teacher(Environment):
    """Likes the letters of the first half of the alphabet, and has no patience."""

    def reset(self, row):
        return ", please"

    def step(self, message):
        text = message["content"]
        self.turn = getattr(self, "turn", 0) + 1
        good = sum(byte < "n" for byte in text) / (len(text) or 1)
        return Turn("again", reward=good / 2, done=self.turn == 2)


class Tool(Environment):
    """Has a tool."""

    @property
    def tools(self):
        return (self.look,)

    def look(self, word: str):
        """Look up.

        Args:
            word: A word.
        """


class Shop:
    """For TRL."""

    def reset(self, **row):
        self.seen = row["prompt"]

    def look(self, word: str):
        """Look up.

        Args:
            word: A word.
        """
        return word


class Judging(Shop):
    """Knows what it is worth."""

    def get_reward(self):
        return float(len(self.seen))


def asks(environments, **_):
    return [float(len(shop.seen[0]["content"])) for shop in environments]


class Broken(Environment):
    """It breaks."""

    def step(self, message):
        raise ValueError("out of order")
'''
CONTENT = '{{"prompt": [{{"role": "user", "content": "{}"}}]}}\n'


@pytest.fixture
def talk(tmp_path, model_dir):
    """Options of a short run with one of the environments."""
    (tmp_path / "mine.py").write_text(ENVIRONMENTS)
    (tmp_path / "train.jsonl").write_text("".join(CONTENT.format(text) for text in ("ab", "cd")))
    (tmp_path / "texts.jsonl").write_text('{"prompt": "ab"}\n')

    def talk(name="Teacher", **options):
        return {
            "model": model_dir,
            "data": str(tmp_path / "train.jsonl"),
            "environment": f"{tmp_path / 'mine.py'}:{name}",
            "prompts_per_step": 2,
            "max_completion_length": 120,  # the model, which is random, ends when it likes
            "max_turns": 2,
            "max_conversation_length": 300,
            "steps": 2,
            "output": str(tmp_path / "run"),
            **options,
        }

    return talk


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["grpo", "ppo", "dapo", "gspo", "grpo_process", "dr_grpo", "gdpo"])
def test_any_algorithm_that_samples_may_talk(talk, name):
    folder = run(name, **talk())
    last = metrics(folder)[-1]
    assert last["conversation/turns"] <= 2
    assert last["conversation/written"] == last["length/mean"]
    assert last["mismatch/max"] < 1e-3
    shown = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert all(row["scores"].keys() == {"environment"} for row in shown)
    assert all(row["prompt"][-1]["content"].endswith(", please") for row in shown)
    assert any(row["feedback"] == "again\nagain" for row in shown)


def test_rewards_add_to_those_of_the_environment(talk, tmp_path):
    (tmp_path / "reward.py").write_text(
        "def last(prompts, completions, **_):\n"
        "    assert all(talk[-1]['role'] == 'assistant' for talk in completions)\n"
        "    return [float(len(talk)) for talk in completions]\n"
    )
    folder = run("grpo", **talk(reward=[f"{tmp_path / 'reward.py'}:last"]))
    last = metrics(folder)[-1]
    assert last["reward/mean"] == pytest.approx(
        last["reward/environment"] + last["reward/last"], abs=1e-4
    )


@pytest.fixture
def shop(talk, tmp_path):
    """Options of a run with a class for TRL."""
    tokenizer = build_tokenizer(CHAT_TEMPLATE)
    build_model(tokenizer, seed=0).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    limits = {"max_completion_length": 20, "max_conversation_length": 100}
    return partial(talk, model=str(tmp_path / "model"), **limits)


def test_a_class_for_trl_is_rewarded_by_itself_and_by_functions_that_ask_for_it(shop, tmp_path):
    last = metrics(run("grpo", **shop("Judging", reward=[f"{tmp_path / 'mine.py'}:asks"])))[-1]
    scores = {name: x for name, x in last.items() if name.startswith("reward/")}
    assert (scores["reward/Judging"], scores["reward/asks"], scores["reward/mean"]) == (1, 2, 3)
    assert "reward/environment" not in scores


def test_one_that_nothing_rewards_is_refused(shop):
    with pytest.raises(ConfigError, match=r"^environment 'Shop' has no get_reward, and no reward"):
        run("grpo", **shop("Shop"))


def test_who_learns_from_a_teacher_needs_no_reward(shop):
    options = shop("Shop") | {"teacher": shop()["model"]}
    assert metrics(run("opd", **options))[-1]["conversation/turns"] >= 1
    assert list(previews(compose("opd"), make_config(options), Observer()))
    with pytest.raises(ConfigError, match=r"^environment 'Shop' has no get_reward, and no reward"):
        run("opd", **options | {"eval_data": [options["data"]], "output": options["output"] + "2"})


def test_held_out_prompts_are_talked_about(talk):
    folder = run("grpo", **talk(eval_data=[talk()["data"]], eval_samples=8))
    assert 0 < metrics(folder)[0]["eval/score"] <= 1
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert any(row["feedback"] == "again\nagain" for row in rows if row["phase"] == "eval")


def test_a_run_that_is_resumed_goes_on_to_talk(talk):
    whole = metrics(
        run("grpo", **talk(steps=3, output=talk()["output"] + "-whole", schedule="constant"))
    )
    folder = run("grpo", **talk(save_every=1, schedule="constant"))
    resume(folder, steps=3)
    assert 'environment = "' in (folder / "config.toml").read_text()
    again = metrics(folder)[-1]
    assert {n: x for n, x in again.items() if n.startswith(("conv", "reward"))} == {
        n: x for n, x in whole[-1].items() if n.startswith(("conv", "reward"))
    }


@pytest.mark.parametrize(
    ("name", "options", "error", "says"),
    [
        ("Nobody", {}, ConfigError, "^environment '.*mine.py' defines no function 'Nobody'"),
        (
            "Tool",
            {},
            DataError,
            "environment 'Tool' cannot talk to this model: the chat",
        ),
        (
            "Teacher",
            {"data": "texts.jsonl"},
            DataError,
            "a prompt is a text, but environment",
        ),
        (
            "Teacher",
            {"max_conversation_length": 119},
            ConfigError,
            "max_conversation_length is 119, less than the max_completion_length of 120: raise",
        ),
        (
            "Teacher",
            {"max_turns": 3, "max_conversation_length": None},
            ConfigError,
            "max_conversation_length is 720, but the model attends to 512 tokens",
        ),
        ("Teacher", {"environment": "retri"}, PluginError, "there is no environment 'retri'; did"),
    ],
)
def test_what_cannot_work_is_refused_before_it_begins(talk, tmp_path, name, options, error, says):
    if "data" in options:
        options = {"data": str(tmp_path / options["data"])}
    with pytest.raises(error, match=says):
        run("grpo", **talk(name, **options))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("option", ["data", "eval_data"])
def test_prompts_that_are_texts_are_bad_rows_wherever_they_stand(talk, tmp_path, option):
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text(CONTENT.format("ab") + '{"prompt": "cd"}\n')
    given = str(mixed) if option == "data" else [str(mixed)]
    options = talk(**{option: given}, steps=1, prompts_per_step=1)
    says = "^row 2 of '.*mixed.jsonl': a prompt is a text, but environment 'Teacher' talks"
    with pytest.raises(DataError, match=says):
        run("grpo", **options)
    run("grpo", **options, bad_rows="skip")


def test_an_environment_that_breaks_ends_the_run_with_its_name(talk):
    says = r"^step 1: environment 'Broken' raised ValueError: out of order \(.*mine.py:\d+\)"
    with pytest.raises(SamplerError, match=says):
        run("grpo", **talk("Broken"))


def test_an_algorithm_that_samples_nothing_talks_about_held_out_prompts_alone(talk, tmp_path):
    row = {"prompt": [{"role": "user", "content": "ab"}]}
    row["completion"] = [{"role": "assistant", "content": "ab"}]
    (tmp_path / "sft.jsonl").write_text(json.dumps(row) + "\n")
    given = {"data": str(tmp_path / "sft.jsonl")}
    with pytest.raises(ConfigError, match="environment is set, but sft samples nothing, and nor"):
        run("sft", **talk(**given))
    found = metrics(run("sft", **talk(**given, eval_data=[talk()["data"]])))
    assert "eval/score" in found[0]


@pytest.fixture
def judged(talk):
    """Options to judge a model, which an environment answers."""
    given = talk()
    del given["steps"], given["prompts_per_step"], given["output"]
    return {**given, "samples": 4, "seed": 0}


def test_a_model_is_judged_by_what_its_environment_gives(judged):
    (found,) = evaluate(judged.pop("model"), **judged)
    assert found.score == "score"
    assert 0 < found.estimates["mean@4"].value <= 1


def test_conversations_are_written_down_as_rows_to_learn_from(judged, tmp_path):
    file = tmp_path / "said.jsonl"
    collect(judged.pop("model"), file, **judged)
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert all(row["completion"][-1]["role"] == "assistant" for row in rows)
    roles = {tuple(message["role"] for message in row["completion"]) for row in rows}
    assert ("assistant", "user", "assistant") in roles
    assert {row["prompt"][-1]["content"] for row in rows} == {"ab, please", "cd, please"}
    assert all(row["scores"].keys() == {"environment"} for row in rows)


def test_options_of_conversations_are_refused_where_nobody_answers(judged):
    del judged["environment"]
    judged["reward"] = ["length"]
    says = "^max_conversation_length is set, but not environment, so"
    with pytest.raises(ConfigError, match=says):
        evaluate(judged.pop("model"), **judged)


def test_a_preview_shows_the_tools(talk, tmp_path):
    tokenizer = build_tokenizer(CHAT_TEMPLATE)
    build_model(tokenizer, seed=0).save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    config = make_config(talk("Tool", model=str(tmp_path / "model")))
    (preview,) = previews(compose("grpo"), config, Observer())
    _, prompt, _ = next(preview.examples(1))
    assert tokenizer.decode(prompt.ids).startswith("<|system|>look(word)<|user|>ab")


def test_tools_of_rows_are_not_mixed_up_with_those_of_an_environment(talk, tmp_path):
    row = {"prompt": [{"role": "user", "content": "ab"}], "tools": [{"name": "other"}]}
    (tmp_path / "tools.jsonl").write_text(json.dumps(row))
    says = "it names tools, but those of the environment are called"
    with pytest.raises(DataError, match=says):
        run("grpo", **talk("Tool", data=str(tmp_path / "tools.jsonl")))
