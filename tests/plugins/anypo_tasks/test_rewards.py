import math_verify
import pytest

from anypo.errors import RewardError
from anypo_tasks import rewards
from anypo_tasks.rewards import text_of


def score(name, completion, answer="", argument=""):
    (number,) = getattr(rewards, name)(argument)(completions=[completion], answer=[answer])
    return number


def test_the_text_of_a_conversation_is_that_of_its_messages():
    messages = [{"role": "assistant", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert text_of(messages) == "ab"
    assert text_of("ab") == "ab"
    assert text_of([]) == ""


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        ("<answer>46</answer>", "46"),
        ("2+4=6 <answer>46</answer> done", "46"),
        ("<answer>1</answer> no: <answer>46</answer>", "46"),
        ("<answer>\n 46\t</answer>", " 46 "),
        ("<answer>two\nlines</answer>", "two\nlines"),
        ("46", "46"),
        (" 46\n", "46"),
        ("<answer>46</answer>", 46),
        ("<ANSWER>46</ANSWER>", "46"),
        ("so it is 46.\n#### 46", "46"),
        ("the answer is 46.", "46"),
        (r"\boxed{46}", "46"),
        ("<think>#### 45</think> #### 46", "46"),
        ("46", "40 + 6 = 46\n#### 46"),
        ([{"role": "assistant", "content": "<answer>46</answer>"}], "46"),
    ],
)
def test_exact_is_one_for_the_right_answer(completion, answer):
    assert score("exact", completion, answer) == 1.0


@pytest.mark.parametrize(
    "completion",
    [
        "<answer>46</answer> no: <answer>1</answer>",
        "46 <answer>1</answer>",
        "<answer>46.0</answer>",
        "<answer>4 6</answer>",
        "<answer>46",
        "the answer is 47",
        "46 <think>46</think> 47",
        "",
    ],
)
def test_exact_is_zero_for_any_other_answer(completion):
    assert score("exact", completion, "46") == 0.0


@pytest.mark.parametrize("name", ["exact", "math"])
@pytest.mark.parametrize(
    ("completion", "is_found"),
    [
        ("<answer>46</answer>", True),
        ([{"role": "assistant", "content": r"\boxed{46}"}], True),
        ("#### 46", True),
        ("46", False),
        ("<answer></answer>", False),
        (r"<think>\boxed{46}</think> so 46", False),
    ],
)
def test_it_says_whether_an_answer_is_marked(name, completion, is_found):
    assert getattr(rewards, name)("").finds(completion) is is_found


def test_regex_says_whether_its_pattern_is_there():
    finds = rewards.regex("b+").finds
    assert (finds("abb"), finds([{"role": "assistant", "content": "a"}])) == (True, False)


@pytest.mark.parametrize("name", ["exact", "math"])
def test_the_answers_of_completions_are_told(name):
    answer_of = getattr(rewards, name)("").answer_of
    assert answer_of("2+4 <answer>46</answer> done") == "46"
    assert answer_of([{"role": "assistant", "content": "<answer> 46 </answer>"}]) == "46"


def test_of_math_the_answers_are_alike_but_for_what_lays_them_out():
    answer_of = rewards.math("").answer_of
    alike = [r"so \boxed{\dfrac{1}{2}}", "#### $\\frac12$.", "the answer is \\frac{1}{2}"]
    assert len({answer_of(text) for text in alike}) == 1
    assert answer_of("#### 0.5") != answer_of("#### 1/2")


def test_exact_compares_row_by_row():
    scores = rewards.exact("")(completions=["1", "2", "3"], answer=["1", 2, "1"])
    assert scores == [1.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("pattern", "completion", "expected"),
    [
        ("b+", "abbc", 1.0),
        ("^b", "abbc", 0.0),
        ("a.*c", "a\nc", 1.0),
        ("(?i)YES", "yes", 1.0),
        (r"x=\d:", "x=3:", 1.0),
        ("b", [{"role": "assistant", "content": "abc"}], 1.0),
        ("b", "", 0.0),
    ],
)
def test_regex_is_one_where_the_pattern_is_found(pattern, completion, expected):
    assert score("regex", completion, argument=pattern) == expected


def test_regex_refuses_what_is_no_pattern():
    with pytest.raises(RewardError, match=r"'regex:a\(' is not a pattern: missing \)"):
        rewards.regex("a(")


def test_regex_needs_a_pattern():
    with pytest.raises(RewardError, match="needs a pattern: regex:PATTERN"):
        rewards.regex("")


def test_length_is_minus_the_number_of_tokens():
    assert rewards.length("")(completion_ids=[[5, 6, 7], []], completions=["a", ""]) == [-3, 0]


@pytest.mark.parametrize("name", ["exact", "length", "math"])
def test_an_argument_is_refused_where_none_is_taken(name):
    with pytest.raises(RewardError, match=f"'{name}' takes no argument, not 'x'"):
        getattr(rewards, name)("x")


@pytest.mark.parametrize(
    ("completion", "answer"),
    [
        (r"so \boxed{1/2}", "0.5"),
        (r"\boxed{\frac{1}{2}}", "0.5"),
        ("the answer is 0.5", r"\frac{1}{2}"),
        ("$x^2$", "x^2"),
        ("1,000", 1000),
        ("first 3, then 4", "4"),
        (r"$\{2, 1\}$", r"$\{1, 2\}$"),
        ([{"role": "assistant", "content": r"\boxed{4}"}], "4"),
    ],
)
def test_math_is_one_for_an_equal_result(completion, answer):
    assert score("math", completion, answer) == 1.0


@pytest.mark.parametrize(
    "completion", [r"\boxed{1/3}", "no number", "", r"\boxed{", r"\frac{1}{0}"]
)
def test_math_is_zero_for_any_other_result(completion):
    assert score("math", completion, "0.5") == 0.0


@pytest.mark.parametrize("completion", ["-05", "it was -09 degrees", "1" * 5000])
def test_math_is_zero_for_a_number_that_cannot_be_parsed(completion):
    assert score("math", completion, "0.5") == 0.0


@pytest.mark.parametrize("answer", ["", " "])
def test_math_refuses_an_empty_answer(answer):
    with pytest.raises(ValueError, match=f"answer '{answer}' is empty"):
        score("math", "2", answer)


@pytest.mark.parametrize("name", ["exact", "math"])
def test_an_answer_that_is_missing_does_not_apply(name):
    assert score(name, "None", None) is None


def test_math_is_zero_for_a_result_that_cannot_be_worked_out_in_time(monkeypatch):
    monkeypatch.setattr("anypo_tasks.rewards.MATH_SECONDS", 0.3)
    assert score("math", r"\boxed{9^{9^9}}", "4") == 0.0


def test_math_verify_says_nothing_of_how_it_is_used(caplog, monkeypatch):
    for part in (math_verify.parser, math_verify.grader):
        monkeypatch.setattr(part, "TIMEOUT_WARNING_SHOWN", False)
    assert score("math", r"\boxed{1/3}", "0.5") == 0.0
    assert caplog.records == []
