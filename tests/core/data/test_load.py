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
        path.parent.mkdir(exist_ok=True)
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


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: datasets.DatasetDict(train=rows)])
def test_what_save_to_disk_wrote_is_read(tmp_path, wrap):
    wrap(datasets.Dataset.from_list(ROWS)).save_to_disk(tmp_path / "saved")
    assert read(str(tmp_path / "saved")) == ROWS


def test_a_directory_of_jsonl_is_read(write, tmp_path):
    write("data/a.jsonl", lines(ROWS[:1]))
    write("data/b.jsonl", lines(ROWS[1:]))
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
    assert load_rows(path) == [Row(1, ROWS[0]), Row(2, ROWS[1])]


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
    with pytest.raises(DataError, match=r"is none of \.jsonl, \.json, \.parquet, \.csv"):
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
    with pytest.raises(DataError, match=r"^data set '.*nothing.*' does not load: .+$") as caught:
        load_rows(name)
    assert f"'{name}'" in str(caught.value)
