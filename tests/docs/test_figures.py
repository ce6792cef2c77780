"""The figures of the pages are kept by the commands that print them."""

import json

import figures
import learning
import pipelines
import pytest
import tables


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for module, name in ((figures, "FOLDER"), (tables, "FIGURES")):
        monkeypatch.setattr(module, name, tmp_path)
    return tmp_path


def test_a_row_takes_the_place_of_that_of_the_same_key(folder):
    for run, score in (("b", 1), ("a", 2), ("b", 3)):
        figures.keep("page", {"run": run, "score": score}, "run")
    rows = json.loads((folder / "page.json").read_text())
    assert rows == [{"run": "a", "score": 2}, {"run": "b", "score": 3}]


def test_rows_of_other_options_stand_beside_each_other(folder):
    for options in ({"rank": 8}, {}, {"sampler": "vllm"}, {}):
        figures.keep("page", {"run": "a", "options": options}, "run", "options")
    rows = json.loads((folder / "page.json").read_text())
    assert [row["options"] for row in rows] == [{"rank": 8}, {"sampler": "vllm"}, {}]


def test_what_a_run_learned_is_in_the_table(folder, quick_cache):
    row = learning.learned("rloo", 1, {"steps": 2, "prompts_per_step": 4})
    figures.keep("learning", {**row, "options": {}}, "algorithm", "options", "seed")
    before, after = row["score"]
    assert f"| `rloo` | 1 | {before:.3f} | {after:.3f} |" in tables.learning()


def test_what_a_chain_prints_is_in_the_table(folder, quick_cache, tmp_path):
    quick = ["--steps", "2", "--output", str(tmp_path / "run")]
    row = {"position": 0, "run": "sft", "prints": pipelines.printed(["run", "sft", *quick])}
    figures.keep("pipelines", row, "position")
    (line,) = row["prints"]
    assert line.startswith("eval score 0.")
    assert f"| `sft` | `{line}` |" in tables.pipeline("sft")
