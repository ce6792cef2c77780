import json

import datasets
import pytest

from anypo.data.formats import Row
from anypo.data.load import load_rows
from anypo.errors import DataError

ROWS = [{"prompt": "1+1", "answer": "2"}, {"prompt": "2+2", "answer": "four"}]
CHAT = [{"role": "user", "content": "1+1"}]


@pytest.fixture(autouse=True)
def _private_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")


@pytest.fixture
def write(tmp_path):
    """Write a text to a file and return its path."""

    def write(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return str(path)

    return write


def read(name):
    """The columns of the rows of a data set."""
    return [row.columns for row in load_rows(name)]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_jsonl_is_read(write):
    assert read(write("data.jsonl", lines(ROWS))) == ROWS


def test_json_is_read(write):
    assert read(write("data.json", json.dumps(ROWS))) == ROWS


def test_csv_is_read(write):
    assert read(write("data.csv", "prompt,answer\n1+1,2\n2+2,four\n")) == ROWS


def test_parquet_is_read(tmp_path):
    path = str(tmp_path / "data.parquet")
    datasets.Dataset.from_list(ROWS).to_parquet(path)
    assert read(path) == ROWS


# -- CSV -----------------------------------------------------------------------------------------


def csv_column(write, *cells, name="x"):
    """What a column of a CSV holds."""
    table = "\n".join([f"p,{name}", *("," + cell for cell in cells)])
    return [row[name] for row in read(write("data.csv", table))]


@pytest.mark.parametrize(
    ("cells", "values"),
    [
        (["5", "-3", "0"], [5, -3, 0]),
        (["5", "", "7"], [5, None, 7]),
        (["5", "0.5", "", "-7.25"], [5, 0.5, None, -7.25]),
        (["18.90", "5.5"], ["18.90", "5.5"]),
        ([".5", "0.5"], [".5", "0.5"]),
        (["1e5", "-0"], ["1e5", "-0"]),
        (["9" * 5000], ["9" * 5000]),
        (["0.1000000000000000055", "1"], ["0.1000000000000000055", "1"]),
        (["5", "four"], ["5", "four"]),
        (["007", "12"], ["007", "12"]),
        (['"1,5"', "3"], ["1,5", "3"]),
        (["true", "False", "TRUE", ""], ["true", "False", "TRUE", None]),
        (["NA", "null", "None", "nan"], ["NA", "null", "None", "nan"]),
        (["nan", "inf", "1.5"], ["nan", "inf", "1.5"]),
        (["", ""], [None, None]),
        (['"two\nlines"', '"a ""b"""'], ["two\nlines", 'a "b"']),
    ],
)
def test_the_cells_of_a_csv_stay_what_they_are(write, cells, values):
    found = csv_column(write, *cells)
    assert found == values
    assert list(map(type, found)) == list(map(type, values))


@pytest.mark.parametrize(
    ("name", "cells", "values"),
    [
        *((name, ["5", ""], ["5", None]) for name in ("prompt", "completion", "text")),
        *((name, ["0.5", "7"], ["0.5", "7"]) for name in ("chosen", "rejected")),
        ("label", ["true", "False", "TRUE", ""], [True, False, True, None]),
        ("label", ["1", "0"], [1, 0]),
        ("label", ["1", "true"], ["1", "true"]),
        ("margin", ["0.50", "1e5", "-.5", "2"], [0.5, 1e5, -0.5, 2.0]),
        ("margin", ["0.50", "large"], ["0.50", "large"]),
    ],
)
def test_what_a_cell_of_a_csv_is_may_follow_from_its_column(write, name, cells, values):
    found = csv_column(write, *cells, name=name)
    assert found == values
    assert list(map(type, found)) == list(map(type, values))


def test_blank_lines_and_a_mark_of_byte_order_are_none_of_a_csv(write):
    path = write("data.csv", "\ufeffprompt,answer\r\n\r\n1+1,2\r\n")
    assert read(path) == [{"prompt": "1+1", "answer": 2}]


def test_a_cell_of_a_csv_may_be_long(write):
    assert csv_column(write, "a" * 200_000) == ["a" * 200_000]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("a,b\n1,2\n\n1\n", "4: 1 cells, but 2 columns"),
        ("a,b\n1,2,3\n", "2: 3 cells, but 2 columns"),
        ("a,a\n1,2\n", "1: two columns have the same name"),
        ('a,b\n"1,2\n', "2: unexpected end of data"),
    ],
)
def test_a_malformed_line_of_a_csv_is_named(write, text, complaint):
    with pytest.raises(DataError, match=rf"data\.csv:{complaint}$"):
        load_rows(write("data.csv", text))


# -- Arrow ---------------------------------------------------------------------------------------


def tool(name, **parameters):
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


def test_rows_keep_the_tools_that_they_had(tmp_path):
    call = {"type": "function", "function": {"name": "add", "arguments": {"a": 1}}}
    other = {"type": "function", "function": {"name": "find", "arguments": {"city": "Rome"}}}
    rows = [
        {
            "prompt": CHAT,
            "completion": [{"role": "assistant", "content": None, "tool_calls": [call]}],
            "tools": [tool("add", a={"type": "integer"}), tool("none")],
            "chat_template_kwargs": {"mood": "calm"},
        },
        {
            "prompt": [{"role": "system", "content": "Add.", "name": "me"}, *CHAT],
            "completion": [{"role": "assistant", "content": "2", "tool_calls": [other]}],
            "tools": [tool("find", city={"type": "string", "enum": ["Rome"]})],
            "chat_template_kwargs": {"thinking": True},
        },
    ]
    path = str(tmp_path / "data.parquet")
    datasets.Dataset.from_list(rows).to_parquet(path)
    assert read(path) == rows


def test_columns_of_the_users_own_keep_their_nulls(tmp_path, write):
    rows = [{"prompt": "a", "answer": {"x": 1, "y": None}}, {"prompt": "b", "answer": None}]
    path = str(tmp_path / "data.parquet")
    datasets.Dataset.from_list(rows).to_parquet(path)
    assert read(path) == rows
    told = [{"prompt": CHAT, "tools": [tool("add", a=None)]}]
    assert read(write("data.jsonl", lines(told))) == told


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: datasets.DatasetDict(train=rows)])
def test_what_save_to_disk_wrote_is_read(tmp_path, wrap):
    wrap(datasets.Dataset.from_list(ROWS)).save_to_disk(tmp_path / "saved")
    assert read(str(tmp_path / "saved")) == ROWS


def test_a_directory_of_jsonl_is_read(write, tmp_path):
    write("data/a.jsonl", lines(ROWS[:1]))
    write("data/b.jsonl", lines(ROWS[1:]))
    assert read(str(tmp_path / "data")) == ROWS


OTHERS = {"data/b.csv": "prompt,answer\n1,2\n", "data/b.json": "[]", "data/deep/b.jsonl": "{}"}


@pytest.mark.parametrize("other", OTHERS)
def test_a_directory_is_read_whole_or_not_at_all(write, tmp_path, other):
    name = "a.jsonl" if other.endswith("csv") else "train.jsonl"
    write(f"data/{name}", lines(ROWS))
    write(other, OTHERS[other])
    words = rf"without 1 of its files, such as '{other.partition('/')[2]}': name one file, or"
    with pytest.raises(DataError, match=words):
        load_rows(str(tmp_path / "data"))


def test_what_is_no_data_may_lie_in_a_directory(write, tmp_path):
    for name in ("README.md", "dataset_info.json", ".hidden.csv", ".git/x.json", "LICENSE.txt"):
        write(f"data/{name}", "{}")
    write("data/train.jsonl", lines(ROWS))
    write("data/test.jsonl", lines(ROWS[1:]))  # another split, which is rightly left
    assert read(str(tmp_path / "data")) == ROWS


def test_a_conversation_is_the_same_from_every_format(tmp_path, write):
    rows = [{"prompt": CHAT, "answer": "2"}]
    path = str(tmp_path / "data.parquet")
    datasets.Dataset.from_list(rows).to_parquet(path)
    assert read(path) == rows
    assert read(write("data.json", json.dumps(rows))) == rows
    assert read(write("data.jsonl", lines(rows))) == rows


def test_changed_data_are_read_anew(write):
    load_rows(write("data.json", json.dumps(ROWS)))
    assert read(write("data.json", json.dumps(ROWS[1:]))) == ROWS[1:]


def test_a_row_of_jsonl_has_the_keys_it_was_given(write):
    rows = [{"prompt": "a", "hint": 1}, {"prompt": "b", "answer": None}]
    assert read(write("data.jsonl", lines(rows))) == rows


def test_blank_lines_are_skipped(write):
    path = write("data.jsonl", "\n" + lines(ROWS).replace("\n", "\n \n\n"))
    assert list(load_rows(path)) == [Row(1, ROWS[0]), Row(2, ROWS[1])]


def test_text_beyond_ascii_is_read(write):
    rows = [{"prompt": "größer\u2028als 中?"}]
    assert read(write("data.jsonl", json.dumps(rows[0], ensure_ascii=False))) == rows


def test_a_malformed_line_is_named(write):
    path = write("data.jsonl", '{"prompt": "a"}\n\n{"prompt": "b"\n')
    with pytest.raises(DataError, match=r"data\.jsonl:3: not JSON: Expecting"):
        load_rows(path)


@pytest.mark.parametrize("line", ["[1]", '"prompt"', "3", "null"])
def test_a_line_that_is_no_object_is_named(write, line):
    path = write("data.jsonl", '{"prompt": "a"}\n' + line)
    with pytest.raises(DataError, match=r"data\.jsonl:2: a row is an object, not "):
        load_rows(path)


@pytest.mark.parametrize("text", ["", "\n \n"])
def test_a_jsonl_without_rows_is_empty(write, text):
    with pytest.raises(DataError, match="is empty"):
        load_rows(write("data.jsonl", text))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("data.json", ""),
        ("data.json", "[]"),
        ("data.json", '[{"prompt": "a"'),
        ("data.csv", ""),
        ("data.csv", "prompt,answer\n"),
        ("data.parquet", "no parquet"),
        ("folder/data.jsonl", '{"prompt"'),
        ("folder/data.txt", ""),
    ],
)
def test_what_cannot_be_read_is_one_line_that_names_it(write, tmp_path, name, text):
    write(name, text)
    name = str(tmp_path / name.partition("/")[0])
    with pytest.raises(DataError, match=r"^data set '.*' (does not load: .+|is empty)$") as caught:
        load_rows(name)
    assert f"'{name}'" in str(caught.value)


def test_text_that_is_not_utf_8_does_not_load(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"prompt": "\xff"}')
    with pytest.raises(DataError, match="does not load: UnicodeDecodeError"):
        load_rows(str(path))


def test_a_file_of_another_kind_is_refused(write):
    with pytest.raises(DataError, match=r"is none of \.jsonl, \.csv, \.json, \.parquet"):
        load_rows(write("data.txt", "a"))


def test_an_empty_directory_does_not_load(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="does not load"):
        load_rows(str(tmp_path / "data"))


@pytest.mark.parametrize("name", ["missing.jsonl", "./missing.jsonl", "some/where/missing.jsonl"])
def test_a_missing_file_is_an_error(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"^[^\n]*missing\.jsonl'[^\n]*$"):
        load_rows(name)


@pytest.mark.parametrize("name", ["missing.jsonl", "./missing.jsonl", "some/missing.parquet"])
def test_a_missing_file_is_not_sought_on_the_hub(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError) as caught:
        load_rows(name)
    assert "Hub" not in str(caught.value)


@pytest.mark.parametrize("name", ["someone/nothing", "someone/nothing:test", "nothing:main:test"])
def test_a_hub_name_that_cannot_be_reached_is_one_line(name):
    words = r"^data set '.*nothing.*' does not load: there is no such file or directory, and of the"
    with pytest.raises(DataError, match=words) as caught:
        load_rows(name)
    assert f"'{name}'" in str(caught.value)
