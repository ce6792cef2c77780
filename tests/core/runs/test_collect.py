"""What a model says is written down as rows that algorithms learn from."""

import json

import pytest

from anypo import collect, compose
from anypo.errors import ConfigError, RewardError
from anypo.hooks.runtime import Runtime
from anypo.runs.observer import Observer
from anypo.runs.options import make_config
from anypo.runs.setup import set_up

REWARDS = """
def letters(completions, **_):
    return [float(sum(map(ord, str(text))) % 97) for text in completions]


def flat_ab(prompts, completions, **_):
    return [0.0 if p == "ab" else s for p, s in zip(prompts, letters(completions))]


def wordy(completions, **_):
    return [{"score": 1.0, "feedback": "a" if i else ""} for i in range(len(completions))]


def once(completions, calls=[], **_):
    calls.append(completions)
    if len(calls) > 1:
        raise ValueError("no more")
    return [1.0] * len(completions)
"""


@pytest.fixture
def collected(tmp_path, model_dir):
    """What is collected of some prompts, with the counts."""
    (tmp_path / "reward.py").write_text(REWARDS)
    rows = [{"prompt": prompt, "level": 3, "chosen": "old"} for prompt in ("ab", "cd", "ef")]

    def collected(keep="all", reward="letters", rows=rows, **options):
        data, output = tmp_path / "prompts.jsonl", tmp_path / "said.jsonl"
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))
        usual = {"max_completion_length": 12, "device": "cpu", "samples": 4, "data": data}
        reward = f"{tmp_path / 'reward.py'}:{reward}"
        counts = collect(model_dir, output, keep=keep, reward=reward, **{**usual, **options})
        return [json.loads(line) for line in output.read_text().splitlines()], counts

    return collected


def learnt(name, tmp_path, model_dir):
    """What an algorithm reads of the file."""
    options = {"model": model_dir, "data": str(tmp_path / "said.jsonl")}
    config = make_config({**options, "max_completion_length": 40})
    return set_up(compose(name), config, None, Runtime(), Observer()).prompts


def test_what_a_reward_says_in_words_is_written_down(collected):
    rows, _ = collected(reward="wordy")
    assert [row.get("feedback") for row in rows] == [None] + ["a"] * 11


def test_all_completions_are_rows_to_imitate(collected, tmp_path, model_dir):
    rows, counts = collected()
    assert [row["prompt"] for row in rows] == [p for p in ("ab", "cd", "ef") for _ in range(4)]
    assert rows[0].keys() == {"prompt", "level", "completion", "truncated", "reward", "scores"}
    assert rows[0]["scores"] == {"letters": rows[0]["reward"]}
    assert (counts.prompts, counts.rows, counts.too_low, counts.alike) == (3, 12, 0, 0)
    assert counts.truncated == sum(row["truncated"] for row in rows)
    read = learnt("sft", tmp_path, model_dir)
    assert [prompt.content for prompt in read] == [row["prompt"] for row in rows]


def test_pairs_are_the_best_and_the_worst(collected, tmp_path, model_dir):
    every, _ = collected()
    (tmp_path / "said.jsonl").unlink()
    rows, counts = collected("pairs", reward="flat_ab")
    assert [row["prompt"] for row in rows] == ["cd", "ef"]
    assert (counts.alike, counts.rows) == (1, 2)
    for row in rows:
        rewards = [one["reward"] for one in every if one["prompt"] == row["prompt"]]
        assert (row["score_chosen"], row["score_rejected"]) == (max(rewards), min(rewards))
        said = {one["completion"]: one["reward"] for one in every if one["prompt"] == row["prompt"]}
        assert said[row["chosen"]] == max(rewards)
    for name in ("dpo", "reward_model"):
        assert len(learnt(name, tmp_path, model_dir)) == 2


def test_the_best_may_have_to_be_good_enough(collected):
    rows, counts = collected("best", reward="flat_ab", min_reward=1.0)
    assert [row["prompt"] for row in rows] == ["cd", "ef"]
    assert (counts.rows, counts.too_low) == (2, 1)


def test_the_answer_to_a_conversation_is_a_message(collected, tmp_path, model_dir):
    prompt = [{"role": "user", "content": "hi"}]
    rows, _ = collected("pairs", rows=[{"prompt": prompt}])
    assert rows[0]["chosen"][0].keys() == {"role", "content"}
    assert len(learnt("dpo", tmp_path, model_dir)) == 1


def test_it_ends_before_the_text_that_ends_it(collected, tmp_path):
    whole, _ = collected(samples=1)
    text = whole[0]["completion"]
    stop = next(letter for letter in text if text.index(letter) > 1)
    (tmp_path / "said.jsonl").unlink()
    cut, _ = collected(samples=1, stop=[stop])
    assert cut[0]["completion"] == text.partition(stop)[0] != text
    assert not cut[0]["truncated"]


def test_what_is_there_is_not_overwritten(collected, tmp_path):
    (tmp_path / "said.jsonl").write_text("mine")
    with pytest.raises(ConfigError, match="exists already: choose another, or delete it"):
        collected()
    assert (tmp_path / "said.jsonl").read_text() == "mine"


def test_what_was_written_stays_if_it_fails_later(collected, tmp_path, monkeypatch):
    monkeypatch.setattr("anypo.runs.judge.AT_ONCE", 1)
    with pytest.raises(RewardError, match="no more"):
        collected(reward="once")
    lines = (tmp_path / "said.jsonl").read_text().splitlines()
    assert [json.loads(line)["prompt"] for line in lines] == ["ab"] * 4


def test_only_known_choices_are_made(collected):
    with pytest.raises(ConfigError, match="keep is 'worst', not one of all, best, pairs"):
        collected("worst")
