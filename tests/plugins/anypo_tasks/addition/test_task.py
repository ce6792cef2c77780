import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from anypo.data.load import load_rows
from anypo.models.load import load_config
from anypo_tasks.addition import build, ensure_embedded, is_built_in, task


@pytest.fixture
def calls():
    """What progress was told."""
    return []


@pytest.fixture
def built(quick_cache, calls):
    return ensure_embedded(lambda done, total: calls.append((done, total)))


def test_it_is_an_ordinary_model_directory_with_data(built):
    model = AutoModelForCausalLM.from_pretrained(built.model)
    tokenizer = AutoTokenizer.from_pretrained(built.model)
    assert model.num_parameters() < 300_000
    assert tokenizer.decode(tokenizer("12+34 <answer>ü</answer>")["input_ids"]) == (
        "12+34 <answer>ü</answer>"
    )
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    train, held_out = load_rows(built.train), load_rows(built.held_out)
    assert (train, held_out) == task.problems(build.SEED)
    problems = [str(row["prompt"]) for row in train + held_out]
    assert len(set(problems)) == len(problems) == 8100


def test_it_is_made_once(built, calls, quick_cache):
    made = len(calls)
    assert calls == [(1, 3), (2, 3), (3, 3)]
    assert ensure_embedded(lambda *call: calls.append(call)) == built
    assert len(calls) == made
    assert [path.name for path in quick_cache.iterdir()] == [built.folder.name]


def test_what_was_interrupted_is_made_again(quick_cache):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_embedded(interrupt)
    assert list(quick_cache.iterdir()) == []
    assert ensure_embedded(lambda *_: None).folder.exists()


def test_chat_template_marks_turns_and_ends(tokenizer):
    messages = [{"role": "user", "content": "1+1"}]
    prompt = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    assert prompt == "<|user|>1+1<|assistant|>"
    reply = {"role": "assistant", "content": "2"}
    whole = tokenizer.apply_chat_template([*messages, reply], tokenize=False)
    assert whole == "<|user|>1+1<|assistant|>2<|end|>"


def test_it_is_used_without_a_model_and_known_by_its_configuration(model_dir, tmp_path):
    assert is_built_in(None)
    assert is_built_in(model_dir)
    config = load_config(model_dir)
    config.anypo_built_in = False
    config.save_pretrained(tmp_path)
    assert not is_built_in(str(tmp_path))
    assert not is_built_in("someone/model")
