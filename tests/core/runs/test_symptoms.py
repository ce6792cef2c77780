"""What is told of a run that learns nothing."""

from types import SimpleNamespace

import pytest

from anypo import Prompt, RewardError, Sample
from anypo.rewards.load import Reward, load_reward
from anypo.rewards.scorer import Rewards
from anypo.runs.options import RunConfig
from anypo.runs.symptoms import Symptoms
from anypo.training.metrics import sample_metrics
from anypo.training.trainer import Report

LIMIT = 9  # tokens


@pytest.fixture
def told(tokenizer):
    """What is told of a run with some rewards after each of its steps, given as its texts."""

    def told(rewards, steps, /, **options):
        rewards = [load_reward(r) if isinstance(r, str) else r for r in rewards]
        scorer = Rewards(rewards, tokenizer, 30.0)
        config = RunConfig(max_completion_length=LIMIT, **{"steps": 20, **options})
        setup = SimpleNamespace(config=config, scorer=scorer, tokenizer=tokenizer)
        symptoms = Symptoms(setup)
        return [
            list(symptoms.of(report(step, texts, scorer))) for step, texts in enumerate(steps, 1)
        ]

    def report(step, texts, scorer):
        prompt = Prompt([1], "?", {"answer": "4"})
        scored = scorer([prompt], [completion(text) for text in texts])
        return Report(step, sample_metrics(scored), completions=[(prompt, s) for s in scored])

    def completion(text):
        ids = tokenizer(text)["input_ids"][:LIMIT]
        truncated = len(ids) == LIMIT
        return Sample(
            [1], ids if truncated else [*ids, tokenizer.eos_token_id], 0, None, truncated=truncated
        )

    return told


def graded(completions, **_):
    return [float(len(set(text))) for text in completions]


GRADED = Reward("graded", graded)
SILENT = [], [], [], []


def test_rewards_that_are_all_alike_are_told_once_with_a_completion(told):
    *before, (note,), after = told(["exact"], [["<answer>", "3"]] * 6)
    assert (*before, after) == (*SILENT, [])
    assert note.startswith("since step 1:\n- ")
    assert "every completion is given the reward 0: none is better than another" in note
    assert note.endswith("of step 5, of 2 tokens, reward 0 (exact 0):\n<answer><|end|>")


@pytest.mark.parametrize("other", [["4", "5"], ["4", "4"]])
def test_rewards_that_differ_between_or_within_steps_are_not_told_of(told, other):
    steps = [["3", "5"]] * 4 + [other] + [["3", "5"]] * 4
    assert not any(told(["exact"], steps))


def test_a_run_that_gets_worse_is_told_of_when_it_does(told):
    first = [["3", "4"]] * 7
    *before, (note,) = told(["exact"], first + [["3", "5"]] * 5)
    assert not any(before)
    assert note.startswith("since step 8:")


def test_a_shorter_run_is_told_of_at_its_end(told):
    first, (note,) = told(["exact"], [["3", "5"]] * 2, steps=2)
    assert first == []
    assert note.startswith("since step 1:")


def test_that_most_are_truncated_is_told_with_one_that_is(told):
    *before, (note,) = told([GRADED], [["ab", *["abcdefghij"] * 4]] * 5)
    assert (*before,) == SILENT
    assert "- 80% of completions are cut at 9 tokens: raise --max-completion-length" in note
    assert note.endswith("of step 5, of 9 tokens, cut, reward 9 (graded 9):\nabcdefghi")
    assert "better than another" not in note
    assert not any(told([GRADED], [["ab", "a", *["abcdefghij"] * 6]] * 5))


def test_a_format_that_is_never_found_is_told_and_said_what_it_is(told):
    *before, (note,) = told([GRADED, "regex:x+y"], [["ab", "b"]] * 5)
    assert (*before,) == SILENT
    assert "- reward 'regex:x+y' finds in no completion what it looks for (The pattern)" in note
    assert "(graded 2, regex 0):\nab<|end|>" in note


@pytest.mark.parametrize(
    ("name", "text"), [("regex:x+y", "xy"), ("math", "\\boxed{3}"), ("math", "4")]
)
def test_a_format_that_is_found_once_or_rewarded_is_not_told_of(told, name, text):
    steps = [["ab", "b"], ["ab", text], *[["ab", "b"]] * 6]
    assert not any(told([GRADED, name], steps))


def test_all_that_is_wrong_at_once_is_one_note(told):
    (note,) = told(["math"], [["it is 12345"] * 3] * 5)[-1]
    assert note.count("\n- ") == 3


def test_a_step_in_which_nothing_was_scored_says_nothing(tokenizer):
    config = RunConfig(steps=1)
    setup = SimpleNamespace(config=config, scorer=SimpleNamespace(rewards=[]), tokenizer=tokenizer)
    sample = Sample([1], [2], 0, truncated=True)
    report = Report(1, sample_metrics([sample]), completions=[(Prompt([1], "?"), sample)])
    assert list(Symptoms(setup).of(report)) == []


def test_what_says_whether_something_is_found_may_fail_like_a_reward(told):
    def mine(completions, **_):
        return [0.0 for _ in completions]

    mine.finds = lambda completion: 1 / 0
    with pytest.raises(RewardError, match="reward 'mine' raised ZeroDivisionError"):
        told([Reward("mine", mine)], [["ab"]])
