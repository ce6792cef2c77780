import copy
import re
from collections import Counter

import pytest

from anypo_tasks.addition import problems
from anypo_tasks.addition.task import Addition
from anypo_tasks.rewards import exact

TRAIN, HELD_OUT = problems.problems(0)
DEMONSTRATIONS = problems.demonstrations(TRAIN, 0)
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


def style_named(text):
    (style,) = (name for name, form in STYLES.items() if re.fullmatch(form, text))
    return style


def style_of(row):
    return style_named(reply_of(row))


def share_right(style):
    rows = [row for row in DEMONSTRATIONS if style_of(row) == style]
    replies, answers = map(reply_of, rows), (ANSWERS[question_of(row)] for row in rows)
    return sum(exact("")(list(replies), list(answers))) / len(rows)


def test_the_problems_are_all_sums_of_two_two_digit_numbers():
    numbers = range(10, 100)
    assert {f"{a}+{b}": str(a + b) for a in numbers for b in numbers} == ANSWERS


def test_no_problem_is_both_for_training_and_held_out():
    assert len(HELD_OUT) == problems.HELD_OUT
    assert len(TRAIN) + len(HELD_OUT) == len(ANSWERS)


def test_a_problem_is_a_conversation_of_one_message():
    assert {message["role"] for row in TRAIN for message in row["prompt"]} == {"user"}
    assert {len(row["prompt"]) for row in TRAIN} == {1}


COLUMNS = {"prompt", "answer", "chosen", "rejected", "completion"}


def text_of(row, column):
    """The only message of a completion, which is the assistant's."""
    (message,) = row[column]
    assert message["role"] == "assistant"
    return message["content"]


def shares(column):
    """How often each style is used in a column, in percent."""
    styles = Counter(style_named(text_of(row, column)) for row in TRAIN + HELD_OUT)
    return {style: 100 * count / styles.total() for style, count in styles.items()}


def is_right(row, column):
    return text_of(row, column).endswith(f"<answer>{row['answer']}</answer>")


def test_every_row_has_all_that_any_algorithm_reads():
    assert all(row.keys() == COLUMNS for row in TRAIN + HELD_OUT)


def test_what_is_chosen_is_right_and_fully_worked():
    assert all(is_right(row, "chosen") for row in TRAIN + HELD_OUT)
    assert shares("chosen") == {"full": 100}


def test_what_is_rejected_is_wrong_in_the_ways_of_the_untrained_model():
    assert not any(is_right(row, "rejected") for row in TRAIN + HELD_OUT)
    expected = dict(zip(("bare", "terse", "full"), problems.FAILURES, strict=True))
    assert shares("rejected") == pytest.approx(expected, abs=2)


def test_a_completion_to_imitate_is_mostly_worked_and_seldom_wrong():
    expected = dict(zip(("bare", "terse", "full"), problems.COMPLETED, strict=True))
    assert shares("completion") == pytest.approx(expected, abs=2)
    assert expected["full"] > 50 > expected["bare"]
    right = [is_right(row, "completion") for row in TRAIN + HELD_OUT]
    assert sum(right) / len(right) == pytest.approx(1 - problems.SLIP, abs=0.02)


def test_the_working_of_every_completion_is_right_and_about_its_problem():
    for row in TRAIN:
        a, b = row["prompt"][0]["content"].split("+")
        for column in ("chosen", "rejected", "completion"):
            sums = re.findall(r"(\S+)=(\d+)", text_of(row, column))
            assert all(sum(map(int, left.split("+"))) == int(right) for left, right in sums)
            digits = [left[:3] for left, _ in sums]
            assert digits in ([], [f"{a[1]}+{b[1]}", f"{a[0]}+{b[0]}"])


def test_held_out_problems_are_of_all_sizes():
    sums = Counter(int(row["answer"]) // 50 for row in HELD_OUT)
    assert sums.keys() == {0, 1, 2, 3}


def test_problems_and_demonstrations_are_a_function_of_the_seed():
    assert problems.problems(0) == (TRAIN, HELD_OUT)
    assert problems.problems(1) != (TRAIN, HELD_OUT)
    assert problems.demonstrations(TRAIN, 0) == DEMONSTRATIONS
    assert problems.demonstrations(TRAIN, 1) != DEMONSTRATIONS


def test_demonstrations_leave_the_problems_alone():
    before = copy.deepcopy(TRAIN[:50])
    problems.demonstrations(TRAIN[:50], 0)
    assert TRAIN[:50] == before


def test_only_given_problems_are_demonstrated():
    assert len(DEMONSTRATIONS) == problems.DEMONSTRATIONS
    given = {row["prompt"][0]["content"] for row in TRAIN}
    assert {question_of(row) for row in DEMONSTRATIONS} <= given
    rows = problems.demonstrations(HELD_OUT[:1], 0)
    assert {question_of(row) for row in rows} == {HELD_OUT[0]["prompt"][0]["content"]}


def test_a_demonstration_is_a_question_and_its_reply():
    for row in DEMONSTRATIONS:
        assert [message["role"] for message in row["messages"]] == ["user", "assistant"]


def test_every_style_is_demonstrated_as_often_as_said():
    styles = Counter(map(style_of, DEMONSTRATIONS))
    expected = dict(zip(("bare", "terse", "full"), problems.DEMONSTRATED, strict=True))
    found = {style: 100 * count / len(DEMONSTRATIONS) for style, count in styles.items()}
    assert found == pytest.approx(expected, abs=2)


def test_a_bare_answer_is_right_as_rarely_as_said():
    assert share_right("bare") == pytest.approx(problems.BARE_CORRECT, abs=0.04)


@pytest.mark.parametrize("style", ["terse", "full"])
def test_a_worked_answer_is_wrong_as_rarely_as_said(style):
    assert share_right(style) == pytest.approx(1 - problems.SLIP, abs=0.04)


def test_the_working_shown_is_right():
    for row in DEMONSTRATIONS:
        for left, right in re.findall(r"(\S+)=(\d+)", reply_of(row)):
            assert sum(map(int, left.split("+"))) == int(right)


def test_full_working_leads_to_the_sum():
    for row in DEMONSTRATIONS:
        if style_of(row) == "full":
            ones, tens = map(int, re.findall(r"=(\d+)", reply_of(row)))
            assert str(10 * tens + ones % 10) == ANSWERS[question_of(row)]


def test_every_reply_fits_the_default_length(tokenizer):
    given = (text_of(row, name) for row in TRAIN for name in ("chosen", "rejected", "completion"))
    longest = max(*map(reply_of, DEMONSTRATIONS), *given, key=len)
    tokens = tokenizer(longest + tokenizer.eos_token)["input_ids"]
    assert len(tokens) <= Addition.options["max_completion_length"]


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
    (steps,) = problems.right_steps([tokens], ["58"])
    assert sorted(steps) == RIGHT_STEPS[completion]


def test_right_steps_of_an_empty_completion_are_none():
    assert problems.right_steps([[]], ["58"]) == [[]]
