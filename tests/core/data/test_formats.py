import copy
import re

import pytest

from anypo.data.formats import Row, Rows, columns_in_reach, converted, ways_to

USER = {"role": "user", "content": "1+1"}
REPLY = {"role": "assistant", "content": "2"}
SYSTEM = {"role": "system", "content": "Add."}
COMPLETION = {"completion"}
PAIR = {"chosen", "rejected"}
LABELLED = {"completion", "label"}


def made_of(rows, wanted):
    """What rows become."""
    given = Rows("mine", rows)
    return list(converted(given, ways_to(wanted, given.columns)))


def convert_all(rows, wanted):
    """The columns of the rows that rows become."""
    made = made_of(rows, wanted)
    assert not any(row.flaw for row in made)
    return [row.columns for row in made]


def flaws(rows, wanted):
    """What is wrong with rows, by their number."""
    return {row.number: row.flaw for row in made_of(rows, wanted) if row.flaw}


def convert(row, wanted):
    """The only row that a row becomes."""
    (new,) = convert_all([row], wanted)
    return new


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"prompt": "a", "answer": "b"}, set()),
        ({"prompt": "a", "completion": "b", "text": "ab", "messages": [USER, REPLY]}, COMPLETION),
        ({"prompt": "a", "chosen": "ab", "rejected": "ac"}, PAIR),
        ({"prompt": "a", "completion": "b", "label": True}, LABELLED),
        ({"prompt": "a", "chosen": "b", "rejected": "c", "label": True}, {"label"}),
        ({"messages": [USER, REPLY], "text": "ab"}, set()),
        ({"question": "a"}, LABELLED),
    ],
)
def test_rows_that_need_nothing_or_cannot_be_helped_stay_as_they_are(row, wanted):
    assert convert_all([row, row], wanted) == [row, row]


def test_from_the_first_reply_on_a_conversation_is_the_completion():
    row = {"messages": [SYSTEM, USER, REPLY, USER, REPLY], "source": "me"}
    assert convert(row, COMPLETION) == {
        "prompt": [SYSTEM, USER],
        "completion": [REPLY, USER, REPLY],
        "source": "me",
    }


def test_a_text_completes_an_empty_prompt():
    row = convert({"text": "once", "source": "me"}, COMPLETION)
    assert row.items() >= {"prompt": "", "completion": "once", "source": "me"}.items()


def test_a_text_that_became_a_completion_is_no_column_any_more():
    assert "text" not in convert({"text": "once"}, COMPLETION)


@pytest.mark.parametrize(
    ("chosen", "rejected", "prompt"),
    [
        ("1+1=2", "1+1=3", "1+1="),
        ("The sky is blue", "The sky is red", "The sky is"),  # the space goes with its word
        ("The sky is blue", "The sky is black", "The sky is bl"),
        ("two  spaces", "two  blanks", "two "),
        ("the same", "the same, and more", "the"),  # neither side may end up empty
        ("the same, and more", "the same", "the"),
        ("the same", "the same", "the"),
        ("the ", "the cat", ""),
        ("a  b", "a  b c", "a "),
        ("a b ", "a b", "a"),
        ("same", "same", ""),
        ("a ", "a b", ""),
        ("yes", "no", ""),
    ],
)
def test_what_both_texts_of_a_pair_begin_with_is_the_prompt(chosen, rejected, prompt):
    row = convert({"chosen": chosen, "rejected": rejected, "source": "me"}, PAIR)
    assert row["prompt"] == prompt
    assert row["prompt"] + row["chosen"] == chosen
    assert row["prompt"] + row["rejected"] == rejected
    assert row["source"] == "me"


def test_what_both_conversations_of_a_pair_begin_with_is_the_prompt():
    other = {**REPLY, "content": "3"}
    row = {"chosen": [SYSTEM, USER, REPLY], "rejected": [SYSTEM, USER, other, USER]}
    assert convert(row, PAIR) == {
        "prompt": [SYSTEM, USER],
        "chosen": [REPLY],
        "rejected": [other, USER],
    }


def test_a_pair_without_prompt_has_one_for_whoever_only_completes_it():
    assert convert({"chosen": "1+1=2", "rejected": "1+1=3"}, set())["prompt"] == "1+1="


@pytest.mark.parametrize(
    ("chosen", "rejected", "shared"),
    [
        ([USER, REPLY], [USER, REPLY], 1),
        ([USER, REPLY], [USER, REPLY, USER, REPLY], 1),
        ([USER, REPLY, USER, REPLY], [USER, REPLY], 1),
        ([REPLY], [REPLY], 0),
        ([], [REPLY], 0),
    ],
)
def test_the_last_message_of_a_conversation_is_never_the_prompt(chosen, rejected, shared):
    assert convert({"chosen": chosen, "rejected": rejected}, PAIR) == {
        "prompt": chosen[:shared],
        "chosen": chosen[shared:],
        "rejected": rejected[shared:],
    }


@pytest.mark.parametrize(("chosen", "rejected"), [("a", [REPLY]), ([REPLY], "a"), (1, 2)])
def test_a_pair_of_different_kinds_is_flawed(chosen, rejected):
    good = {"chosen": "1+1=2", "rejected": "1+1=3"}
    ((number, flaw),) = flaws([good, {"chosen": chosen, "rejected": rejected}], PAIR).items()
    assert number == 2
    assert re.match(r"'chosen' is .* and 'rejected' is .*: b", flaw)


@pytest.mark.parametrize(
    ("row", "wanted", "column"),
    [
        ({"chosen": None, "rejected": None}, PAIR, "chosen"),
        ({"chosen": "a", "rejected": None}, PAIR, "rejected"),
        ({"messages": None}, COMPLETION, "messages"),
        ({"text": None}, COMPLETION, "text"),
    ],
)
def test_a_column_that_is_null_is_a_flaw(row, wanted, column):
    assert flaws([row], wanted) == {1: f"'{column}' is null"}


@pytest.mark.parametrize("messages", ["hello", 3, {"role": "user", "content": "a"}])
def test_messages_that_are_no_list_are_a_flaw(messages):
    found = flaws([{"messages": [USER, REPLY]}, {"messages": messages}], COMPLETION)
    assert found.keys() == {2}
    assert re.match("'messages' is .*, not a list of messages", found[2])


def test_flaws_of_many_rows_are_found_at_once():
    rows = [{"text": "a"}, {"text": None}, {"body": "b"}, {"text": "c"}]
    assert flaws(rows, COMPLETION) == {2: "'text' is null", 3: "there is no 'text', only body"}


def test_a_greeting_by_the_assistant_is_part_of_the_prompt():
    row = {"messages": [REPLY, USER, REPLY, USER, REPLY]}
    assert convert(row, COMPLETION) == {"prompt": [REPLY, USER], "completion": [REPLY, USER, REPLY]}


@pytest.mark.parametrize("messages", [[REPLY], [USER], [USER, {**REPLY, "role": "Assistant"}]])
def test_a_conversation_in_which_nobody_is_replied_to_is_told_from_an_empty_one(messages):
    (flaw,) = flaws([{"messages": messages}], COMPLETION).values()
    roles = [message["role"] for message in messages]
    assert flaw == f"'messages' holds no reply of the 'assistant' to anybody: it has {roles}"


def test_a_pair_is_two_labelled_completions():
    row = {"prompt": "1+1", "chosen": "2", "rejected": "3", "source": "me"}
    rest = {"prompt": "1+1", "source": "me"}
    assert convert_all([row], LABELLED) == [
        {**rest, "completion": "2", "label": True},
        {**rest, "completion": "3", "label": False},
    ]


def test_steps_are_labelled_completions_up_to_each():
    row = {"prompt": "1+1+1", "completions": ["1+1=2", "2+1=4"], "labels": [True, False], "by": 1}
    rest = {"prompt": "1+1+1", "by": 1}
    assert convert_all([row], LABELLED) == [
        {**rest, "completion": "1+1=2", "label": True},
        {**rest, "completion": "1+1=2\n2+1=4", "label": False},
    ]


@pytest.mark.parametrize(
    ("completions", "labels", "flaw"),
    [
        ("a", [True], "both have to be lists"),
        (["a"], True, "both have to be lists"),
        (["a", "b"], [True], "'completions' has 2 steps and 'labels' has 1"),
        (["a", 2], [True, False], "a text and a label for each step"),
        ([], [], "'completions' has no step"),
    ],
)
def test_steps_that_cannot_be_paired_with_labels_are_a_flaw(completions, labels, flaw):
    row = {"prompt": "a", "completions": completions, "labels": labels}
    assert flaw in flaws([row], LABELLED)[1]


def test_rows_keep_the_number_of_the_one_that_they_come_from():
    pair = {"chosen": "1+1=2", "rejected": "1+1=3"}
    assert [row.number for row in made_of([pair] * 2, LABELLED)] == [1, 1, 2, 2]
    ways = ways_to(LABELLED, pair)
    assert [row.number for row in converted([Row(7, pair)], ways)] == [7, 7]


def test_a_pair_without_prompt_is_two_labelled_completions_of_what_it_shares():
    assert convert_all([{"chosen": "1+1=2", "rejected": "1+1=3"}], LABELLED) == [
        {"prompt": "1+1=", "completion": "2", "label": True},
        {"prompt": "1+1=", "completion": "3", "label": False},
    ]


@pytest.mark.parametrize("odd", [{"text": "ab"}, {}, {"prompt": "a"}])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_no_odd_row_changes_the_format_of_the_others(odd, place):
    rows = [{"chosen": "1+1=2", "rejected": "1+1=3"}] * 2
    made = made_of([*rows[:place], odd, *rows[place:]], PAIR)
    assert [row.number for row in made if row.flaw] == [place + 1]
    assert [row.columns["prompt"] for row in made if not row.flaw] == ["1+1="] * 2


def test_rows_of_the_wanted_format_stay_beside_odd_ones():
    rows = [{"prompt": "a", "completion": "b"}, {"text": "ab"}]
    assert convert_all(rows, COMPLETION) == rows


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ({"messages": [USER, REPLY]}, COMPLETION),
        ({"text": "once"}, COMPLETION),
        ({"chosen": "ab", "rejected": "ac"}, LABELLED),
    ],
)
def test_converting_leaves_the_given_rows_alone(row, wanted):
    before = copy.deepcopy(row)
    convert_all([row], wanted)
    assert row == before


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [{"role": "user", "content": "1+1"}, REPLY]},
        {"text": "once"},
        {"chosen": "1+1=2", "rejected": "1+1=3"},
        {"prompt": "1+1=", "chosen": "2", "rejected": "3", "source": "me"},
        {"prompt": "1+1="},
    ],
)
@pytest.mark.parametrize("wanted", [COMPLETION, PAIR, LABELLED, set()])
def test_columns_in_reach_are_those_that_converted_rows_have(row, wanted):
    assert convert_all([row], wanted)[0].keys() == {*columns_in_reach(row, wanted)}
