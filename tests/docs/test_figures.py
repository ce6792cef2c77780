"""The figures of the pages are kept by the commands that print them."""

import json
from concurrent.futures import Future

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


@pytest.fixture
def learn(folder, monkeypatch, capsys):
    """Calls the command, whose runs only say their names; gives its status and those names."""

    class Pool:
        """Runs nothing elsewhere."""

        def __init__(self, *_, **__):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def submit(self, function, *arguments):
            future = Future()
            try:
                future.set_result(function(*arguments))
            except ValueError as error:
                future.set_exception(error)
            return future

    def learned(name, seed, options):
        if name == "dapo":
            raise ValueError("it failed")
        return {"algorithm": learning.whole(name).name, "options": options, "seed": seed}

    monkeypatch.setattr(learning, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(learning, "learned", learned)

    def call(*arguments):
        monkeypatch.setattr("sys.argv", ["learning.py", *arguments])
        with pytest.raises(SystemExit) as ended:
            learning.main()
        lines = capsys.readouterr().out.splitlines()
        found = [json.loads(x)["algorithm"] if x.startswith("{") else x for x in lines]
        return int(ended.value.code), sorted(found)

    return call


def test_shards_are_all_runs_together(learn):
    names = ["grpo", "tis", "intellect2"]
    one, two = (learn(*names, "--seeds", "0", "1", "--shard", f"{i}/2")[1] for i in (1, 2))
    assert (len(one), len(two)) == (3, 3)
    assert sorted(one + two) == sorted(2 * ["grpo", "grpo+tis", "intellect2"])


def test_what_is_missing_alone_is_run_and_what_fails_stops_no_other(learn):
    status, found = learn("dapo", "grpo", "tis", "--missing")
    assert (status, found) == (1, ["('dapo', 0): ValueError('it failed')", "grpo", "grpo+tis"])
    assert learn("grpo", "tis", "--missing") == (0, [])
    assert learn("grpo", "--missing", "--set", "lora_rank=8") == (0, ["grpo"])
    assert learn("grpo") == (0, ["grpo"])


def test_what_a_chain_prints_is_in_the_table(folder, quick_cache, tmp_path):
    quick = ["--steps", "2", "--output", str(tmp_path / "run")]
    row = {"position": 0, "run": "sft", "prints": pipelines.printed(["run", "sft", *quick])}
    figures.keep("pipelines", row, "position")
    (line,) = row["prints"]
    assert line.startswith("eval score 0.")
    assert f"| `sft` | `{line}` |" in tables.pipeline("sft")
