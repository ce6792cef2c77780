import pytest
import torch
from transformers import GenerationConfig, Qwen3Config

from anypo.errors import ModelError
from anypo.models import (
    context_length,
    end_tokens,
    frozen_copy,
    load_config,
    load_model,
    load_tokenizer,
    sensible_threads,
)


def test_a_model_loads_in_float32_without_dropout(model_dir):
    model = load_model(model_dir)
    assert model.dtype == torch.float32
    assert not model.training


def test_a_frozen_copy_stays_when_the_model_moves(model):
    copy = frozen_copy(model)
    before = copy.model.embed_tokens.weight.clone()
    with torch.no_grad():
        model.model.embed_tokens.weight.add_(1)
    assert torch.equal(copy.model.embed_tokens.weight, before)
    assert not any(parameter.requires_grad for parameter in copy.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize(("configured", "expected"), [(None, set()), (7, {7}), ([7, 9], {7, 9})])
def test_every_end_token_counts(model, tokenizer, configured, expected):
    model.generation_config = GenerationConfig(eos_token_id=configured)
    assert set(end_tokens(model, tokenizer)) == expected | {tokenizer.eos_token_id}


def test_context_length(model_dir):
    assert context_length(load_config(model_dir)) == 512
    assert context_length(Qwen3Config(max_position_embeddings=99)) == 99


@pytest.mark.parametrize("load", [load_model, load_config, load_tokenizer])
def test_what_is_not_there_is_one_sentence(load, tmp_path):
    with pytest.raises(ModelError, match="does not load") as refusal:
        load(str(tmp_path / "nowhere"))
    assert "\n" not in str(refusal.value)


def test_a_directory_without_a_tokenizer_says_what_to_do(tmp_path):
    with pytest.raises(ModelError, match="save_pretrained"):
        load_tokenizer(str(tmp_path))


def test_a_tokenizer_without_an_end_is_refused(tokenizer, tmp_path):
    import copy

    endless = copy.deepcopy(tokenizer)
    endless.eos_token = None
    endless.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match="no end-of-sequence token"):
        load_tokenizer(str(tmp_path))


def test_a_tiny_model_gets_one_thread_as_long_as_it_is_used(model):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        with sensible_threads(model):
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
