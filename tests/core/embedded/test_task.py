import re
from collections import Counter

import pytest

from anypo.builtin_rewards import BUILT_IN
from anypo.config import BUILT_IN_DEFAULTS
from anypo.embedded import task

TRAIN, HELD_OUT = task.problems(0)
DEMONSTRATIONS = task.demonstrations(TRAIN, 0)
ANSWERS = {row["prompt"][0]["content"]: row["answer"] for row in TRAIN + HELD_OUT}
STYLES = {
    "bare": r"<answer>\d+</answer>",
    "terse": r"\d\+\d=\d+ \d\+\d=\d+ <answer>\d+</answer>",
    "full": r"\d\+\d=\d+ \d\+\d\+[01]=\d+ <answer>\d+</answer>",
}


def question_of(row):
    return row["messages"][0]["content"]


def reply_of(row):
    return row["messages"][-1]["content"]


def style_of(row):
    (style,) = (name for name, form in STYLES.items() if re.fullmatch(form, reply_of(row)))
    return style


def share_right(style):
    rows = [row for row in DEMONSTRATIONS if style_of(row) == style]
    replies, answers = map(reply_of, rows), (ANSWERS[question_of(row)] for row in rows)
    return sum(BUILT_IN["exact"]("")(list(replies), list(answers))) / len(rows)


def test_the_problems_are_all_sums_of_two_two_digit_numbers():
    numbers = range(10, 100)
    assert {f"{a}+{b}": str(a + b) for a in numbers for b in numbers} == ANSWERS


def test_no_problem_is_both_for_training_and_held_out():
    assert len(HELD_OUT) == task.HELD_OUT
    assert len(TRAIN) + len(HELD_OUT) == len(ANSWERS)


def test_a_problem_is_a_conversation_of_one_message():
    assert all(row.keys() == {"prompt", "answer"} for row in TRAIN + HELD_OUT)
    assert {message["role"] for row in TRAIN for message in row["prompt"]} == {"user"}
    assert {len(row["prompt"]) for row in TRAIN} == {1}


def test_held_out_problems_are_of_all_sizes():
    sums = Counter(int(row["answer"]) // 50 for row in HELD_OUT)
    assert sums.keys() == {0, 1, 2, 3}


def test_problems_and_demonstrations_are_a_function_of_the_seed():
    assert task.problems(0) == (TRAIN, HELD_OUT)
    assert task.problems(1) != (TRAIN, HELD_OUT)
    assert task.demonstrations(TRAIN, 0) == DEMONSTRATIONS
    assert task.demonstrations(TRAIN, 1) != DEMONSTRATIONS


def test_demonstrations_leave_the_problems_alone():
    assert all(len(row["prompt"]) == 1 for row in TRAIN)


def test_only_given_problems_are_demonstrated():
    assert len(DEMONSTRATIONS) == task.DEMONSTRATIONS
    given = {row["prompt"][0]["content"] for row in TRAIN}
    assert {question_of(row) for row in DEMONSTRATIONS} <= given
    rows = task.demonstrations(HELD_OUT[:1], 0)
    assert {question_of(row) for row in rows} == {HELD_OUT[0]["prompt"][0]["content"]}


def test_a_demonstration_is_a_question_and_its_reply():
    for row in DEMONSTRATIONS:
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]


def test_every_style_is_demonstrated():
    assert {style_of(row) for row in DEMONSTRATIONS} == STYLES.keys()


def test_a_bare_answer_is_right_as_rarely_as_said():
    assert share_right("bare") == pytest.approx(task.BARE_CORRECT, abs=0.04)


@pytest.mark.parametrize("style", ["terse", "full"])
def test_a_worked_answer_is_wrong_as_rarely_as_said(style):
    assert share_right(style) == pytest.approx(1 - task.SLIP, abs=0.04)


def test_the_working_shown_is_right():
    for row in DEMONSTRATIONS:
        for left, right in re.findall(r"(\S+)=(\d+)", reply_of(row)):
            assert sum(map(int, left.split("+"))) == int(right)


def test_full_working_leads_to_the_sum():
    for row in DEMONSTRATIONS:
        if style_of(row) == "full":
            ones, tens = map(int, re.findall(r"=(\d+)", reply_of(row)))
            assert str(10 * tens + ones % 10) == ANSWERS[question_of(row)]


def test_a_demonstrated_reply_fits_the_default_length(tokenizer):
    longest = max(map(reply_of, DEMONSTRATIONS), key=len)
    tokens = tokenizer(longest + tokenizer.eos_token)["input_ids"]
    assert len(tokens) <= BUILT_IN_DEFAULTS["max_completion_length"]


RIGHT_STEPS = {
    "3+5=8 4+1+0=6 <58>": [(4, 0.25), (12, 0.0), (17, 0.5)],
    "3+5=8 <57>": [(4, 0.5), (9, 0.0)],
    "<58>": [(3, 0.5)],
    "3+5=8 ": [(4, 0.5), (6, 0.0)],
    "no answer": [(9, 0.0)],
    "3+5=8 <58> 1+1=3": [(4, 0.25), (9, 0.5), (15, 0.0)],
}


@pytest.mark.parametrize("completion", RIGHT_STEPS)
def test_right_steps_judges_each_sum_and_the_answer_at_its_last_token(completion):
    tags = {"<": "<answer>", ">": "</answer>"}
    tokens = [tags.get(character, character) for character in completion] + [""]
    (steps,) = task.right_steps([tokens], ["58"])
    assert sorted(steps) == RIGHT_STEPS[completion]


def test_right_steps_of_an_empty_completion_are_none():
    assert task.right_steps([[]], ["58"]) == [[]]
