"""`anypo eval` and `anypo sample`, as they are called."""

import json

import pytest

from anypo_cli.app import main

SHORT = ["--max-completion-length", "6", "--samples", "2", "--device", "cpu"]


@pytest.fixture
def given(tmp_path, model_dir, monkeypatch):
    """The arguments by which a model answers two data sets, each of two prompts."""
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"prompt": prompt, "answer": "x"}) for prompt in ("ab", "cd")]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows) + "\n")
    data = ["--data", "easy=rows.jsonl", "--data", "hard=rows.jsonl"]
    return [model_dir, *data, "--reward", "exact", *SHORT]


def test_a_table_has_a_column_for_every_set(given, capsys):
    assert main(["eval", *given]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[0] == ["score", "easy", "hard"]
    assert lines[1] == ["prompts", "2", "2"]
    assert [line[0] for line in lines[2:]] == [
        "mean@2",
        "pass@1",
        "pass@2",
        "majority@2",
        "truncated",
    ]
    assert lines[2][1:] == ["0.000", "±", "0.000"] * 2


def test_json_is_all_that_is_printed(given, capsys):
    assert main(["eval", *given, "--json", "--reward", "length"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["set"], one["score"]) for one in found[:2]] == [
        ("easy", "score"),
        ("easy", "score/exact"),
    ]
    assert found[0]["estimates"]["mean@2"].keys() == {"value", "error"}


def test_what_is_written_is_told_with_what_is_left_out(given, capsys):
    assert main(["sample", *given, "--output", "x.jsonl", "--pairs"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "left out 4 prompts: no completion is better than another",
        "wrote 0 rows of 4 prompts to x.jsonl",
    ]


@pytest.mark.parametrize(
    ("command", "more", "why"),
    [
        ("sample", [], "no file is named to write to: name one (--output)"),
        ("sample", ["--output", "x", "--pairs", "--best"], "--pairs and --best are both given"),
        ("sample", ["--output", "rows.jsonl"], "output 'rows.jsonl' exists already"),
        ("sample", ["--output", "no/x"], "output 'no/x' cannot be written: there is no 'no'"),
        ("eval", ["--data", "rows.jsonl"], "of several data sets each needs a name"),
        ("eval", ["--vllm-url", "x"], "it comes with --sampler vllm"),
        ("eval", ["--sampler", "vllm", "--vllm-timeout", "3"], "vllm_timeout is set, but vllm_url"),
        ("eval", ["--sampler", "vlm"], "there is no sampler 'vlm'; did you mean 'vllm'?"),
    ],
)
def test_what_is_wrong_is_one_line(given, capsys, command, more, why):
    assert main([command, *given, *more]) != 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert why in line


@pytest.mark.parametrize("command", ["eval", "sample"])
def test_its_help_shows_its_options_and_those_of_the_sampler(command, capsys):
    assert main([command, "--sampler", "vllm", "--help"]) == 0
    shown = capsys.readouterr().out
    assert all(option in shown for option in ("MODEL", "--data", "--samples", "--vllm-url"))
