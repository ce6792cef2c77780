"""What samples.jsonl holds."""

import json
import math

from anypo import Prompt, Sample
from anypo.runs.samples import extremes, row, rows
from anypo.training.trainer import Report


def sample(tokenizer, text, group=0, **more):
    return Sample([1], tokenizer(text)["input_ids"], group, **more)


def test_a_row_says_all_that_is_known_of_a_completion(tokenizer):
    scores = {"exact": 1.0, "never": math.nan}
    said = sample(tokenizer, "be<|end|>", 2, reward=1.0, scores=scores, truncated=True)
    told = row(11, Prompt([1], "to"), said, tokenizer, phase="eval", set="hard")
    assert json.loads(json.dumps(told, allow_nan=False)) == {
        "step": 11,
        "phase": "eval",
        "set": "hard",
        "group": 2,
        "prompt": "to",
        "completion": "be<|end|>",
        "tokens": 3,
        "truncated": True,
        "reward": 1.0,
        "scores": {"exact": 1.0, "never": None},
    }


def test_a_row_holds_what_was_said_in_words_where_there_is_any(tokenizer):
    said = [sample(tokenizer, "be", feedback=words) for words in ("why not to be?", "")]
    told = [row(1, Prompt([1], "to"), one, tokenizer) for one in said]
    assert [one.get("feedback") for one in told] == ["why not to be?", None]


def reported(tokenizer, step, groups):
    every = [(Prompt([1], f"prompt {g}"), sample(tokenizer, str(i), g)) for i, g in groups]
    return Report(step, completions=every)


def test_the_first_prompts_of_a_step_are_kept_with_all_their_completions(tokenizer):
    groups = [(i, group) for group in (7, 1, 4, 0, 3) for i in range(3)]
    kept = rows(reported(tokenizer, 11, groups), tokenizer)
    assert [(row["group"], row["completion"]) for row in kept] == [
        (group, str(i)) for group in (7, 1, 4, 0) for i in range(3)
    ]
    assert {row["phase"] for row in kept} == {"train"}
    assert kept[0]["prompt"] == "prompt 7"


def test_every_tenth_step_is_kept(tokenizer):
    kept = [step for step in range(24) if rows(reported(tokenizer, step, [(0, 0)]), tokenizer)]
    assert kept == [1, 11, 21]


def judged(tokenizer, rewards):
    every = [(Prompt([1], "?"), sample(tokenizer, "a", reward=reward)) for reward in rewards]
    rows = extremes(Report(3, completions=every), tokenizer)
    return [row["reward"] for row in rows]


def test_the_best_and_the_worst_are_told_apart_from_the_rest(tokenizer):
    assert judged(tokenizer, [0.5, -1.0, 2.0, 0.0]) == [2.0, -1.0]
    assert judged(tokenizer, [0.5, 0.5]) == [0.5]
    assert judged(tokenizer, [None, None]) == judged(tokenizer, []) == []
