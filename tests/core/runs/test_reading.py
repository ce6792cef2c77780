"""What a run left, read in Python."""

import subprocess
import sys

import pytest

from anypo import ConfigError, DataError, read_run, run

CONFIG = 'algorithm = "grpo"\nsteps = 2\n[knobs]\ngroup_size = 4\n[hooks]\nclip = "cispo"\n'


@pytest.fixture
def folder(tmp_path):
    """A run directory written by hand."""
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "plugins.lock.json").write_text('{"algorithm": "grpo"}')
    (tmp_path / "metrics.jsonl").write_text('{"step": 0, "eval/score": 0.5}\n{"step": 1, "a": 2}\n')
    (tmp_path / "samples.jsonl").write_text('{"step": 1, "completion": "\\u2028 one line"}\n')
    return tmp_path


def test_it_gives_what_a_run_has_written(quick_cache, tmp_path):
    options = {"steps": 2, "prompts_per_step": 2, "output": str(tmp_path / "run"), "device": "cpu"}
    found = read_run(run("grpo", **options))
    assert found.config["algorithm"] == "grpo"
    assert found.config["steps"] == 2
    assert found.config["knobs"]["group_size"] == 8
    assert [row["step"] for row in found.metrics] == [0, 1, 2]
    assert all("eval/score" in found.metrics[step] for step in (0, 2))
    assert {"prompt", "completion", "reward", "scores", "phase"} <= found.samples[0].keys()
    stages = [answer["stage"] for answer in found.lock["explained"]["answers"]]
    assert "clip" in stages


def test_metrics_are_a_frame_too(folder):
    frame = read_run(str(folder)).metrics.frame()
    assert list(frame.index) == [0, 1]
    assert frame["eval/score"][0] == 0.5
    assert frame["eval/score"].isna()[1]


def test_a_frame_needs_pandas(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ConfigError, match="pip install pandas"):
        read_run(folder).metrics.frame()


def test_a_run_that_has_written_nothing_yet_has_no_rows(folder):
    for name in ("metrics.jsonl", "samples.jsonl", "plugins.lock.json"):
        (folder / name).unlink()
    found = read_run(folder)
    assert (found.metrics, found.samples, found.lock) == ([], [], {})
    assert len(found.metrics.frame()) == 0
    assert found.config["hooks"] == {"clip": "cispo"}


def test_a_row_without_a_phase_is_of_the_training(folder):
    (row,) = read_run(folder).samples
    assert row == {"phase": "train", "step": 1, "completion": "\u2028 one line"}


@pytest.mark.parametrize("torn", ['{"step": 2, "a', '{"step": 2}'])
def test_a_last_line_that_is_torn_is_left_out(folder, torn):
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(torn)
    assert [row["step"] for row in read_run(folder).metrics] == [0, 1]


@pytest.mark.parametrize("line", ["{", "[]", "{}", "3", '{"step": "x"}', '{"step": null}'])
def test_another_line_that_is_damaged_is_named(folder, line):
    (folder / "metrics.jsonl").write_text(f'{{"step": 0}}\n{line}\n{{"step": 1}}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl', line 2, is damaged"):
        _ = read_run(folder).metrics


@pytest.mark.parametrize("lock", ["{", "[]"])
def test_a_damaged_lock_is_named(folder, lock):
    (folder / "plugins.lock.json").write_text(lock)
    with pytest.raises(DataError, match=r"plugins\.lock\.json' cannot be read"):
        read_run(folder)


def test_what_is_no_run_is_refused(folder):
    for wrong, says in (
        (3, "takes the path of a run directory, not 3"),
        (folder / "none", "it does not exist"),
        (folder / "config.toml", "it is a file"),
    ):
        with pytest.raises(ConfigError, match=says):
            read_run(wrong)
    (folder / "config.toml").write_text("")
    with pytest.raises(ConfigError, match="ended before it had begun"):
        read_run(folder)
    (folder / "config.toml").unlink()
    with pytest.raises(ConfigError, match=r"no run directory: it has no config\.toml"):
        read_run(folder)


def test_it_imports_nothing_heavy(folder):
    script = f"import anypo, sys; anypo.read_run({str(folder)!r}).metrics; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout
    assert "anypo.runs.reading" in modules.split()
    assert not {"torch", "pandas", "transformers"} & set(modules.split())
