from pathlib import Path

import pytest
from datasets import Dataset, DatasetDict

from anypo import ConfigError
from anypo.data.given import written
from anypo.data.load import load_rows
from anypo.runs.judging_options import CompletionOptions
from anypo.runs.options import make_config

ROWS = [{"prompt": "a"}]
TABLE = {"prompt": ["a", "b"], "tools": [[{"x": 1}], [{"y": "2"}]]}


def _numbered():
    return ({"prompt": str(number)} for number in range(3))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "anypo"


def columns(name):
    return [row.columns for row in load_rows(name)]


def test_rows_are_read_again_as_they_are(cache):
    rows = [{"prompt": "1+1=", "answer": 2, "deep": {"a": [None, 0.5]}}, {"prompt": "ä\n"}]
    assert columns(written(rows)) == rows
    assert [path.suffix for path in cache.iterdir()] == [".jsonl"]


def test_the_same_rows_have_the_same_file():
    assert written(_numbered()) == written(_numbered())
    assert written([{"prompt": "a"}]) != written([{"prompt": "b"}])


def test_a_dataset_is_read_as_its_file_would_be(tmp_path):
    dataset = Dataset.from_dict(TABLE)
    dataset.to_parquet(tmp_path / "rows.parquet")
    assert columns(written(dataset)) == columns(str(tmp_path / "rows.parquet"))


@pytest.mark.parametrize(
    ("data", "number"),
    [
        (ROWS, 1),
        (Dataset.from_dict({"prompt": ["a"]}), 1),
        ([ROWS, "train.jsonl"], 2),
        ((Path("a.jsonl"), [{"prompt": "b"}]), 2),
    ],
    ids=["rows", "dataset", "rows and a file", "a path and rows"],
)
def test_data_are_given_as_objects(data, number):
    config = make_config({"data": data})
    assert len(config.data) == number
    assert all(isinstance(name, str) for name in config.data)
    assert make_config({"data": config.data}).data == config.data


def test_held_out_sets_are_a_table_of_them():
    table = DatasetDict(easy=Dataset.from_dict({"prompt": ["a"]}), hard=Dataset.from_dict(TABLE))
    easy, hard = make_config({"eval_data": table}).eval_data
    assert (easy[:5], hard[:5]) == ("easy=", "hard=")
    assert columns(easy[5:]) == [{"prompt": "a"}]


def test_what_is_judged_is_given_likewise():
    (name,) = CompletionOptions(data=[{"prompt": "a"}]).data
    assert columns(name) == [{"prompt": "a"}]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ([{"prompt": {1, 2}}], "row 1 holds what JSON cannot say: Object of type set"),
        ([{"prompt": float("nan")}], "row 1 holds what JSON cannot say"),
        ([{"prompt": "a"}, "b"], "row 2 of a list is 'b': give a file"),
        ([[]], "without rows"),
        ([Dataset.from_dict({"prompt": []})], "without rows"),
        (DatasetDict(train=Dataset.from_dict(TABLE)), "a dictionary is no data set"),
        ({"prompt": ["a"]}, "a dictionary is no data set"),
        (5, "valid string"),
        ([], "at least 1"),
    ],
)
def test_what_holds_no_rows_is_refused(data, said, cache):
    with pytest.raises(ConfigError, match=said):
        make_config({"data": data})
    assert not cache.exists() or not [*cache.iterdir()]
