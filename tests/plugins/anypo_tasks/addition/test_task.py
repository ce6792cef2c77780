import json

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from anypo_tasks.addition import problems, task
from anypo_tasks.addition.task import CODE, Addition


@pytest.fixture
def told(tmp_path, quick_task):
    """What progress was told while the task was made in an empty directory."""
    calls = []
    Addition().make(tmp_path / "made", lambda *call: calls.append(call))
    return calls


def rows(file):
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def test_it_is_an_ordinary_model_directory_with_data(told, tmp_path):
    folder = tmp_path / "made"
    model = AutoModelForCausalLM.from_pretrained(folder / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    assert model.num_parameters() < 300_000
    assert tokenizer.decode(tokenizer("12+34 <answer>ü</answer>")["input_ids"]) == (
        "12+34 <answer>ü</answer>"
    )
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    train, held_out = rows(folder / "train.jsonl"), rows(folder / "held_out.jsonl")
    assert (train, held_out) == problems.problems(task.SEED)
    every = [str(row["prompt"]) for row in train + held_out]
    assert len(set(every)) == len(every) == 8100


def test_progress_counts_the_steps_of_the_warm_start(told):
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize("name", CODE)
def test_its_fingerprint_changes_with_the_code_that_makes_it(name, tmp_path, monkeypatch):
    for file in CODE:
        (tmp_path / file).write_text("")
    monkeypatch.setattr(task, "__file__", str(tmp_path / "task.py"))
    before = Addition().fingerprint()
    assert Addition().fingerprint() == before
    (tmp_path / name).write_text("# another")
    assert Addition().fingerprint() != before


def test_chat_template_marks_turns_and_ends(tokenizer):
    messages = [{"role": "user", "content": "1+1"}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert prompt == "<|user|>1+1<|assistant|>"
    reply = {"role": "assistant", "content": "2"}
    whole = tokenizer.apply_chat_template([*messages, reply], tokenize=False)
    assert whole == "<|user|>1+1<|assistant|>2<|end|>"
