import json
import re

import pytest

from anypo_cli.app import main

PAIR = {"prompt": "1+1=", "chosen": "2", "rejected": "3"}
CHAT = [{"role": role, "content": text} for role, text in (("user", "1+1"), ("assistant", "2"))]
COLOUR = re.compile(r"\x1b\[([0-9;]*)m([^\x1b]*)")


@pytest.fixture
def preview(model_dir, tmp_path, capsys, monkeypatch):
    """What `anypo preview` shows of some rows, and its status."""
    monkeypatch.chdir(tmp_path)
    limits = ["--max-completion-length", "50", "--max-prompt-length", "20"]

    def preview(name, *rows, more=(), model=model_dir):
        file = tmp_path / "mine.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        given = ["--data", "mine.jsonl", "--model", model, *limits, *more]
        status = main(["preview", *name.split(), *given])
        shown = capsys.readouterr()
        return status, shown.out + shown.err

    return preview


def test_it_shows_what_a_pair_teaches(preview):
    status, text = preview("dpo", PAIR, {**PAIR, "level": 3})
    assert status == 0
    assert "rows: 2, of columns prompt, chosen, rejected" in text
    assert "dpo: reads prompt, chosen, rejected of 2 prompts" in text
    assert "prompt: 4 to 4 tokens, median 4" in text
    assert "chosen: 2 to 2 tokens, median 2" in text
    (first,) = re.findall(r"row 1: chosen \(preference 1\)\n(.*?)row 1", text, re.S)
    assert [line.split() for line in first.splitlines()] == [
        ["prompt", "1+1=", "(4", "tokens)"],
        ["learnt", "2<|end|>", "(2", "tokens)"],
    ]
    assert "row 2: rejected (preference -1)" in text


def test_what_is_not_learnt_is_told_from_what_is(preview):
    _, text = preview("sft", {"messages": [*CHAT, *CHAT]})
    kinds = [line.split()[:2] for line in text.splitlines() if line.endswith("tokens)")]
    assert [kind for kind, _ in kinds] == ["prompt", "learnt", "not", "learnt"]
    assert kinds[0][1] == "<|user|>1+1<|assistant|>"


def test_colours_tell_it_where_there_are_some(preview, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    _, text = preview("sft", {"prompt": CHAT[:1], "completion": CHAT[1:]}, more=["--rows", "1"])
    row = [
        (set(codes.split(";")), piece) for codes, piece in COLOUR.findall(text.split("row 1")[1])
    ]
    styles = {piece: codes for codes, piece in row}
    assert {"7", "36"} <= styles["<|user|>"]  # cyan and inverted: a special token of the prompt
    assert "32" in styles["2"]  # green: learnt
    assert {"7", "32"} <= styles["<|end|>"]
    assert ("4" in styles["1"]) != ("4" in styles["+"])  # every other token is underlined


def test_it_says_what_a_reward_is_given(preview):
    rows = {"prompt": "1+1=", "answer": "2", "completions": 3}
    _, text = preview("grpo", rows, more=["--reward", "exact"])
    assert "grpo: reads prompt of 1 prompts and samples completions" in text
    assert "rewards: exact: given answer, not completions" in text
    assert "rewards: none is named (--reward)" in preview("grpo", rows)[1]


@pytest.mark.parametrize(("how", "left"), [("drop", 1), ("cut", 2)])
def test_it_counts_what_is_too_long(preview, how, left):
    long = {**PAIR, "prompt": "p" * 30}
    status, text = preview("dpo", PAIR, long, more=["--long-prompts", how])
    assert status == 0
    assert f"of {left} prompts" in text
    assert "prompt: 4 to 30 tokens, median 17" in text
    assert "too long: 1 prompts of more than 20 tokens" in text
    assert "row 2 is the first, the longest has 30" in " ".join(text.split())


def test_what_a_run_would_refuse_is_said_and_the_rest_is_shown(preview):
    status, text = preview("dpo", PAIR, {**PAIR, "chosen": ""})
    assert status == 1
    assert "refused: row 2 of 'mine.jsonl': 'chosen' is empty; --bad-rows skip leaves" in text
    assert "row 1: chosen" in text
    status, text = preview("dpo", {"text": "a"})
    assert status == 1
    assert "error: data set 'mine.jsonl' has no column 'chosen', only text; " in text


def test_text_of_others_does_nothing_to_a_terminal(preview):
    row = {"prompt": "[red]\x1b[2J[/]", "completion": "a\nb"}
    _, text = preview("sft", row)
    assert "[red][2J[/]" in text
    assert "\x1b" not in text
    assert "a↵\n" in text


def test_a_character_of_several_tokens_is_shown_as_one(preview):
    _, text = preview("sft", {"prompt": "ü", "completion": "中"})
    assert re.search(r"prompt ü +\(2 tokens\)", text)
    assert re.search(r"learnt 中<\|end\|> +\(4 tokens\)", text)


def test_several_data_sets_are_shown_with_their_shares(preview, tmp_path, model_dir, capsys):
    (tmp_path / "other.jsonl").write_text(json.dumps(PAIR))
    status, text = preview("dpo", PAIR, more=["--data", "other.jsonl=1"])
    assert status == 1
    assert "data set 'mine.jsonl' has no share, but others have" in text
    told = (
        'algorithm = "dpo"\ndata = ["mine.jsonl=3", "other.jsonl=1"]\nmax_completion_length = 9\n'
    )
    (tmp_path / "config.toml").write_text(told)
    assert main(["preview", "--config", "config.toml", "--rows", "0", "--model", model_dir]) == 0
    text = capsys.readouterr().out
    assert re.findall(r"^(\w+\.jsonl)\n.*, (\S+) of all that is drawn$", text, re.M) == [
        ("mine.jsonl", "75.0%"),
        ("other.jsonl", "25.0%"),
    ]
    assert "legend" not in text


def test_held_out_sets_are_shown_as_they_would_be_measured(preview, tmp_path):
    (tmp_path / "asked.jsonl").write_text(json.dumps({"prompt": "2+2=", "answer": "4"}))
    (tmp_path / "pairs.jsonl").write_text(json.dumps(PAIR))
    sets = ["--eval-data", "a=asked.jsonl", "--eval-data", "b=pairs.jsonl"]
    status, text = preview("dpo", PAIR, more=[*sets, "--reward", "exact"])
    assert status == 0
    assert re.findall(r"^(\S+)\n.*\n  (held out|dpo): (.*)$", text, re.M) == [
        ("mine.jsonl", "dpo", "reads prompt, chosen, rejected of 1 prompts"),
        ("asked.jsonl", "held out", "reads prompt of 1 prompts, to be completed"),
        ("pairs.jsonl", "held out", "reads prompt, chosen, rejected of 1 prompts"),
    ]
    assert text.count("rewards: exact: given answer") == 1
    assert re.search(r"prompt 2\+2= +\(4 tokens\)", text)


def test_the_command_line_of_a_run_will_do(preview, letters, model_dir):
    more = ["--steps", "3", "--set", "learning_rate=0.1", "--output", "runs/x", "--processes", "2"]
    assert preview("grpo+dapo", {"prompt": "a"}, more=["--group-size", "4", *more])[0] == 0
    status, text = preview("grpo", {"prompt": "a"}, more=["--resume", "runs/x"])
    assert status == 1
    assert "there is no preview of --resume DIR: --config DIR/config.toml has one" in text


def test_its_help_has_the_options_of_a_run(capsys):
    assert main(["preview", "dpo", "--help"]) == 0
    text = capsys.readouterr().out
    assert "--rows" in text
    assert "--beta" in text
    assert "--long-prompts" in text
