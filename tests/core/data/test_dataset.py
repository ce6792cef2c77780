import copy
import json
from types import SimpleNamespace

import pytest

from anypo import compose
from anypo.data import dataset
from anypo.data.dataset import Reader, learning_from
from anypo.data.formats import Rows
from anypo.data.load import load_rows
from anypo.data.tally import Limits
from anypo.errors import DataError

LIMITS = Limits(100, 100)
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

    def learn(name, *rows, longest=100, long_prompts="drop", tokenizer=tokenizer, **options):
        limits = Limits(100, longest, long_prompts)
        reader = Reader(compose(name), tokenizer, limits, notes.append, **options)
        return list(reader.to_learn_from(Rows("mine", rows)))

    return learn


# -- formats -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "row", "missing", "fitting"),
    [
        ("dpo", LABELLED, "chosen", "kto"),
        ("dpo", LABELLED, "chosen", "sft"),
        ("sft", PAIR, "completion", "dpo"),
        ("kto", {"prompt": "a", "completion": "b"}, "label", "sft"),
        ("dpo", {"messages": []}, "chosen", "sft"),
        ("grpo", {"text": "a"}, "prompt", "sft"),
    ],
)
def test_rows_of_another_format_name_the_algorithms_that_learn_from_it(
    learn, name, row, missing, fitting
):
    there = ", ".join(row)
    named = rf"(\w+, )*{fitting}(, \w+)*( and others)?"
    complaint = f"has no column '{missing}', only {there}; {named} would learn from it$"
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


def test_labelled_steps_may_come_in_one_row(learn):
    steps = {"prompt": "1+1+1=", "completions": ["1+1=2", "2+1=4"], "labels": [True, False]}
    right, wrong = learn("prm", steps)
    assert (right.columns["label"], wrong.columns["label"]) == (True, False)
    assert len(right.completions["completion"].ids) < len(wrong.completions["completion"].ids)


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


@pytest.mark.parametrize(
    ("long_prompts", "left", "told"),
    [("drop", 1, "have more than 100 tokens"), ("cut", 3, "were cut to their last 100 tokens")],
)
def test_prompts_that_are_too_long_are_told_of(learn, notes, long_prompts, left, told):
    rows = [{**PAIR, "prompt": "p" * n} for n in (100, 101, 300)]
    assert len(learn("dpo", *rows, long_prompts=long_prompts)) == left
    (note,) = notes
    which = r"(row 2 is the first, the longest has 300)"
    assert note.startswith(f"the prompts of 2 rows of 'mine' {told} {which}")


def test_prompts_that_are_too_long_may_be_an_error(learn):
    long = {**PAIR, "prompt": "p" * 101}
    with pytest.raises(DataError, match=r"^row 2 of 'mine': the prompt has 101 tokens, the limit"):
        learn("dpo", PAIR, long, long_prompts="error", skip_bad=False)
    assert len(learn("dpo", PAIR, long, long_prompts="error", skip_bad=True)) == 1


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

PAIRWISE, LABELWISE, IMITATING = {"dpo", "orpo", "reward_model"}, {"kto", "prm"}, {"dft", "sft"}
SOME = PAIRWISE | LABELWISE | IMITATING | {"grpo", "rft"}


@pytest.mark.parametrize(
    ("columns", "fitting"),
    [
        ({"prompt", "chosen", "rejected"}, PAIRWISE | LABELWISE),
        ({"chosen", "rejected", "source"}, PAIRWISE | LABELWISE),
        ({"prompt", "completion", "label"}, LABELWISE | IMITATING),
        ({"prompt", "completions", "labels"}, LABELWISE),
        ({"prompt", "completion"}, IMITATING),
        ({"messages"}, IMITATING),
        ({"text"}, IMITATING),
        ({"prompt", "chosen"}, set()),
        ({"prompt", "answer"}, set()),
        (set(), set()),
    ],
)
def test_who_learns_from_some_columns_is_known(columns, fitting):
    found = learning_from(columns, compose("grpo"))
    assert SOME & {*found} == fitting
    depths = [len(compose(name).layers) for name in found]
    assert depths == sorted(depths)


def test_nobody_elses_code_is_run_to_find_who_learns_from_what(install):
    install("foreign", {"foreign": "foreign_algorithms:Foreign"}, {"foreign_algorithms.py": "1/0"})
    found = learning_from({"prompt", "completion"}, compose("sft"))
    assert "sft" in found
    assert "foreign" not in found


IMITATION = """
from anypo_plugins.supervised.sft import SFT
class Imitation(SFT):
    "The same by another name."
class Broken:
    "Answers nothing."
"""


def test_the_packages_of_the_algorithm_itself_are_asked(install):
    points = {"imitation": "imitations:Imitation", "broken": "imitations:Broken"}
    install("imitations", points, {"imitations.py": IMITATION})
    assert "imitation" not in learning_from({"prompt", "completion"}, compose("grpo"))
    assert learning_from({"prompt", "completion"}, compose("imitation")) == ["imitation"]


# -- large data sets -----------------------------------------------------------------------------


@pytest.fixture
def large(tmp_path, monkeypatch, tokenizer):
    """Reads a file as if it were large; what is read anew is noted."""
    monkeypatch.setattr(dataset, "SMALL", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file, anew = tmp_path / "mine.jsonl", []
    read_prompts = dataset.read_prompts

    def counted(*arguments):
        anew.append(1)
        return read_prompts(*arguments)

    monkeypatch.setattr(dataset, "read_prompts", counted)

    def large(*rows, name="dpo", tokenizer=tokenizer, limits=LIMITS, **options):
        anew.clear()
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        said = []
        reader = Reader(compose(name), tokenizer, limits, said.append, **options)
        found = reader.to_learn_from(load_rows(str(file)))
        return list(found), said, len(anew)

    return large


ROWS = [PAIR, {**PAIR, "rejected": "2"}, {**PAIR, "prompt": "p" * 101}, {**PAIR, "answer": ["b"]}]


def test_what_was_read_before_is_not_read_again_and_told_of_as_before(large, learn):
    first, again = large(*ROWS), large(*ROWS)
    assert (first[2], again[2]) == (1, 0)
    assert first[:2] == again[:2]
    assert first[0] == learn("dpo", *ROWS)
    assert [note.partition(" rows of ")[0] for note in first[1]] == ["the prompts of 1", "1"]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "kto"},
        {"limits": Limits(100, 50)},
        {"limits": Limits(100, 100, "cut")},
        {"tokenizer": "another template"},
    ],
    ids=str,
)
def test_what_would_be_read_otherwise_is_read_anew(large, change, tokenizer):
    large(*ROWS)
    if "tokenizer" in change:
        change = {"tokenizer": copy.deepcopy(tokenizer)}
        change["tokenizer"].chat_template = FORGETFUL
    assert large(*ROWS, **change)[2] == 1


def test_changed_rows_are_read_anew(large):
    large(*ROWS)
    (*_, last), _, times = large(*ROWS[:-1], {**PAIR, "answer": ["c"]})
    assert (times, last.columns["answer"]) == (1, ["c"])


def test_other_code_reads_anew(large, monkeypatch):
    large(*ROWS)
    monkeypatch.setattr("anypo.data.fingerprint.version", lambda _: "another")
    assert large(*ROWS)[2] == 1


def test_a_template_that_says_the_date_is_rendered_anew_every_day(large, monkeypatch, tokenizer):
    dated = copy.deepcopy(tokenizer)
    dated.chat_template += "{# strftime_now #}"
    for day, (reads, reads_dated) in (("1", (1, 1)), ("1", (0, 0)), ("2", (0, 1))):
        today = SimpleNamespace(today=lambda day=day: SimpleNamespace(isoformat=lambda: day))
        monkeypatch.setattr("anypo.data.fingerprint.date", today)
        assert large(*ROWS)[2] == reads
        assert large(*ROWS, tokenizer=dated)[2] == reads_dated


def test_whether_bad_rows_are_skipped_may_change_without_reading_anew(large):
    rows = [PAIR, {**PAIR, "chosen": ""}, PAIR]
    with pytest.raises(DataError, match=r"^row 2 of .*'chosen' is empty; --bad-rows skip"):
        large(*rows)
    found, (note,), times = large(*rows, skip_bad=True)
    assert (len(found), times) == (2, 0)
    assert note.endswith("'chosen' is empty; left out")


def test_what_cannot_be_scored_is_asked_each_time(large):
    def refuse(prompt):
        asked.append(prompt.content)
        if prompt.content == "2=":
            raise DataError("it is hard")

    rows, asked = [ANSWERED, {**ANSWERED, "prompt": "2="}, {**ANSWERED, "prompt": "3="}], []
    for times in (1, 0):
        found, (note,), read = large(*rows, name="grpo", check=refuse, skip_bad=True)
        assert ([prompt.content for prompt in found], read) == (["1+1=", "3="], times)
        assert note.endswith("it is hard; left out")
    assert asked == ["1+1=", "2=", "3="] * 2


def test_how_far_it_is_is_told(large, monkeypatch):
    monkeypatch.setattr("anypo.data.progress.PATIENCE", 0)
    monkeypatch.setattr("anypo.data.progress.EVERY", 0)
    told = []
    large(*ROWS, progress=lambda *args: told.append(args))
    what, *counts = zip(*told, strict=True)
    assert {*what} == {f"tokenising {what[0].partition(' ')[2]}"}
    assert counts == [(1, 2, 3, 4, 4), (4,) * 5]
