import copy

import pytest

from anypo import compose
from anypo.data.dataset import Reader, learning_from
from anypo.data.formats import Rows
from anypo.data.tally import Limits
from anypo.errors import DataError

PAIR = {"prompt": "1+1=", "chosen": "2", "rejected": "3"}
LABELLED = {"prompt": "1+1=", "completion": "2", "label": True}
ANSWERED = {"prompt": "1+1=", "answer": "2"}
FORGETFUL = (
    "{% for message in messages %}<|{{ message['role'] }}|>"
    "{{ message['content'] if loop.last or message['role'] == 'user' else '...' }}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture
def notes():
    """What was said."""
    return []


@pytest.fixture
def learn(tokenizer, notes):
    """The prompts that an algorithm learns from, of some rows."""

    def learn(name, *rows, longest=100, tokenizer=tokenizer, **options):
        reader = Reader(compose(name), tokenizer, Limits(100, longest), notes.append, **options)
        return list(reader.to_learn_from(Rows("mine", rows)))

    return learn


# -- formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "row", "missing", "fitting"),
    [
        ("dpo", LABELLED, "chosen", "kto, sft"),
        ("sft", PAIR, "completion", "cdpo, dpo, ipo, kto, orpo, reward_model, robust_dpo"),
        ("kto", {"prompt": "a", "completion": "b"}, "label", "sft"),
        ("dpo", {"messages": []}, "chosen", "sft"),
        ("grpo", {"text": "a"}, "prompt", "sft"),
    ],
)
def test_rows_of_another_format_name_the_algorithms_that_learn_from_it(
    learn, name, row, missing, fitting
):
    there = ", ".join(row)
    complaint = f"has no column '{missing}', only {there}; {fitting} would learn from it$"
    with pytest.raises(DataError, match=rf"^data set 'mine' {complaint}"):
        learn(name, row)


@pytest.mark.parametrize("row", [ANSWERED, {"question": "1+1", "solution": "2"}])
def test_rows_without_completions_are_for_algorithms_that_sample(learn, row):
    there = ", ".join(row)
    with pytest.raises(
        DataError, match=f"no column 'completion', only {there}; only an algorithm that samples"
    ):
        learn("sft", row)


def test_a_column_of_another_name_is_to_be_renamed(learn):
    with pytest.raises(DataError, match="has no column 'prompt', only Prompt; rename the one that"):
        learn("grpo", {"Prompt": "1+1="})


@pytest.mark.parametrize("pair", [PAIR, {"chosen": "1+1=2", "rejected": "1+1=3"}])
def test_labelled_completions_may_come_as_pairs(learn, pair):
    good, bad = learn("kto", pair)
    assert (good.columns["label"], bad.columns["label"]) == (True, False)
    assert (good.columns["completion"], bad.columns["completion"]) == ("2", "3")
    assert good.content == bad.content == "1+1="


@pytest.mark.parametrize("name", ["dpo", "reward_model"])
def test_a_ragged_row_is_named(learn, name):
    ragged = {"prompt": "3=", "chosen": "2"}
    with pytest.raises(DataError, match=r"^row 3 of 'mine': there is no 'rejected', on"):
        learn(name, PAIR, PAIR, ragged)


def test_a_ragged_row_is_named_by_its_number_in_the_data(learn):
    ragged = {"prompt": "3=", "chosen": "2"}
    with pytest.raises(DataError, match=r"^row 3 of 'mine': .*'rejected'"):
        learn("kto", PAIR, PAIR, ragged)


def test_an_odd_first_row_changes_no_format(learn):
    with pytest.raises(DataError, match=r"^row 1 of 'mine': there is no 'chosen', only text; "):
        learn("dpo", {"text": "a"}, PAIR, PAIR)


@pytest.mark.parametrize("name", ["sft", "kto"])
def test_a_data_set_of_nothing_but_flaws_is_refused_for_these(learn, name):
    rows = {"sft": {"messages": None}, "kto": {"chosen": None, "rejected": "a"}}
    (column, _), *_ = rows[name].items()
    with pytest.raises(DataError, match=f"^2 of 2 rows of 'mine' .*: rows 1, 2: '{column}' is nul"):
        learn(name, rows[name], rows[name])


# -- what is lost --------------------------------------------------------------------------------


def test_pairs_of_the_same_are_told_of(learn, notes):
    same = {**PAIR, "rejected": "2"}
    assert len(learn("dpo", PAIR, same, same)) == 1
    (note,) = notes
    assert note.startswith("2 rows of '")
    assert note.endswith("hold the same completion twice and are left out (row 2 is the first)")


@pytest.mark.parametrize("pair", [PAIR, {"chosen": "1+1=2", "rejected": "1+1=3"}])
def test_pairs_of_the_same_are_told_of_where_pairs_become_rows(learn, notes, pair):
    assert len(learn("kto", pair, {**pair, "rejected": pair["chosen"]})) == 2
    (note,) = notes
    assert note.startswith("1 rows of '")
    assert note.endswith("are left out (row 2 is the first)")


def test_pairs_that_the_cut_makes_the_same_are_told_of(learn, notes):
    alike = {**PAIR, "chosen": "abc", "rejected": "abd"}
    assert len(learn("dpo", PAIR, alike, longest=2)) == 1
    (note,) = notes
    assert note.startswith("the completions of 1 rows of '")
    assert "differ only beyond max_completion_length (2)" in note
    assert note.endswith("(row 2 is the first)")


def test_roles_that_nobody_knows_are_told_of_once_each(learn, notes):
    usual, odd = ([{"role": role, "content": "?"}] for role in ("user", "wizard"))
    reply = [{"role": "assistant", "content": "!"}]
    human = [{"role": "human", "content": "?"}]
    rows = [{"prompt": p, "completion": reply} for p in (usual, odd, human, odd)]
    assert len(learn("sft", *rows)) == 4
    assert [note.partition(", of which few")[0] for note in notes] == [
        "messages of 'mine' have the role 'wizard' (row 2 is the first)",
        "messages of 'mine' have the role 'human' (row 3 is the first)",
    ]


def test_replies_that_are_not_learnt_are_told_of(learn, notes, tokenizer):
    forgetful = copy.deepcopy(tokenizer)
    forgetful.chat_template = FORGETFUL
    turns = [{"role": role, "content": role} for role in ("user", "assistant") * 2]
    learn("sft", {"messages": turns}, {"messages": turns[:2]}, tokenizer=forgetful)
    (note,) = notes
    assert note.startswith("1 replies of '")
    assert "are not learnt: the chat template renders them otherwise once later" in note


@pytest.mark.parametrize("algorithm", ["sft", "reward_model"])
def test_what_the_chat_template_does_not_show_is_told_of(learn, notes, algorithm):
    asked, good, bad = ({"role": role, "content": role} for role in ("user", *["assistant"] * 2))
    row = {
        "prompt": [asked],
        "completion": [good],
        "chosen": [good],
        "rejected": [bad | {"content": "no"}],
    }
    thoughtful = row | {name: [good | {"thinking": "hm"}] for name in ("completion", "chosen")}
    learn(algorithm, row, thoughtful)
    (note,) = notes
    assert note.startswith("the chat template does not show all that replies of 1 rows of '")
    assert "such as thoughts or tool calls (row 2 is the first)" in note


def test_completions_that_were_cut_are_told_of(learn, notes):
    long = {**PAIR, "chosen": "two", "rejected": "three"}
    learn("dpo", PAIR, long, longest=2)
    (note,) = notes
    assert note.startswith("2 completions of '")
    assert note.endswith("are longer than max_completion_length (2) and were cut")


def test_rows_that_are_skipped_are_told_of(learn, notes):
    turns = [{"role": "user", "content": "1+1"}, {"role": "assistant", "content": "2"}]
    rows = [{"messages": messages} for messages in (turns, None, [], turns, turns[:1])]
    assert len(learn("sft", *rows, skip_bad=True)) == 2
    (note,) = notes
    assert note == (
        "3 of 5 rows of 'mine' cannot be used: row 2: 'messages' is null; row 3: 'prompt' is "
        "empty: a conversation needs a message before the reply; row 5: 'messages' holds no reply "
        "of the 'assistant' to anybody: it has ['user']; left out"
    )


# -- who learns from what ------------------------------------------------------------------------

PAIRWISE = ["cdpo", "dpo", "ipo", "orpo", "reward_model", "robust_dpo"]


@pytest.mark.parametrize(
    ("columns", "fitting"),
    [
        ({"prompt", "chosen", "rejected"}, [*PAIRWISE, "kto"]),
        ({"chosen", "rejected", "source"}, [*PAIRWISE, "kto"]),
        ({"prompt", "completion", "label"}, ["kto", "sft"]),
        ({"prompt", "completion"}, ["sft"]),
        ({"messages"}, ["sft"]),
        ({"text"}, ["sft"]),
        ({"prompt", "chosen"}, []),
        ({"prompt", "answer"}, []),
        (set(), []),
    ],
)
def test_who_learns_from_some_columns_is_known(columns, fitting):
    assert learning_from(columns, compose("grpo")) == sorted(fitting)


def test_nobody_elses_code_is_run_to_find_who_learns_from_what(install):
    install("foreign", {"foreign": "foreign_algorithms:Foreign"}, {"foreign_algorithms.py": "1/0"})
    assert learning_from({"prompt", "completion"}, compose("sft")) == ["sft"]


IMITATION = """
from anypo_plugins.sft import SFT
class Imitation(SFT):
    "The same by another name."
class Broken:
    "Answers nothing."
"""


def test_the_packages_of_the_algorithm_itself_are_asked(install):
    points = {"imitation": "imitations:Imitation", "broken": "imitations:Broken"}
    install("imitations", points, {"imitations.py": IMITATION})
    assert learning_from({"prompt", "completion"}, compose("grpo")) == ["sft"]
    assert learning_from({"prompt", "completion"}, compose("imitation")) == ["imitation"]
