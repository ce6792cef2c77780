import copy
import logging
import shutil

import pytest
import torch
from transformers import GenerationConfig, Qwen3Config

from anypo.errors import ModelError
from anypo.models.load import (
    context_length,
    end_tokens,
    frozen_copy,
    has_scalar_head,
    load_config,
    load_model,
    load_tokenizer,
    model_path,
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


# -- run directories -----------------------------------------------------------------------------


def test_a_run_directory_stands_for_the_model_in_it(tmp_path):
    (tmp_path / "config.toml").write_text("")
    (tmp_path / "model").mkdir()
    assert model_path(str(tmp_path)) == str(tmp_path / "model")


def test_any_other_path_or_name_stands_for_itself(tmp_path):
    (tmp_path / "model").mkdir()
    for path in (str(tmp_path), "someone/model", "nowhere"):
        assert model_path(path) == path


def test_a_run_that_saved_no_model_says_so(tmp_path):
    (tmp_path / "config.toml").write_text("")
    with pytest.raises(ModelError, match="holds no model: the run ended before it saved one"):
        model_path(str(tmp_path))


# -- models that score texts ---------------------------------------------------------------------


@pytest.fixture
def warned(caplog):
    """What transformers warns of."""
    logger = logging.getLogger("transformers")
    logger.addHandler(caplog.handler)
    yield lambda: [record.getMessage() for record in caplog.records]
    logger.removeHandler(caplog.handler)


def test_that_a_head_which_was_asked_for_is_new_is_no_news(model_dir, warned):
    load_model(model_dir, scalar_head=True)
    assert warned() == []


def test_a_language_model_gets_a_head_that_scores_texts(model_dir):
    model = load_model(model_dir, scalar_head=True)
    base = load_model(model_dir)
    assert model.get_output_embeddings() is None
    assert model(torch.tensor([[5, 6]])).logits.shape == (1, 1)
    assert torch.equal(model.get_input_embeddings().weight, base.get_input_embeddings().weight)
    assert (model.dtype, model.training) == (torch.float32, False)


def test_a_model_that_scores_texts_loads_as_such_and_not_as_another(model_dir, tmp_path):
    model = load_model(model_dir, scalar_head=True)
    model.save_pretrained(tmp_path)
    load_tokenizer(model_dir).save_pretrained(tmp_path)
    again = load_model(str(tmp_path), scalar_head=True)
    assert torch.equal(again.score.weight, model.score.weight)
    with pytest.raises(ModelError, match="scores texts, but one that continues them is needed"):
        load_model(str(tmp_path))


def test_a_scalar_head_shows_in_the_configuration(model_dir, tmp_path):
    load_model(model_dir, scalar_head=True).save_pretrained(tmp_path)
    assert has_scalar_head(load_config(str(tmp_path)))
    assert not has_scalar_head(load_config(model_dir))


@pytest.mark.parametrize(("pad", "expected"), [("<|pad|>", "<|pad|>"), (None, "<|end|>")])
def test_a_missing_padding_token_is_that_of_the_tokenizer_or_its_end(
    model_dir, tokenizer, tmp_path, pad, expected
):
    folder = str(tmp_path / "model")
    shutil.copytree(model_dir, folder)
    padless = load_config(folder)
    padless.pad_token_id = None
    padless.save_pretrained(folder)
    other = copy.deepcopy(tokenizer)
    other.pad_token = pad
    other.save_pretrained(folder)
    model = load_model(folder, scalar_head=True)
    assert model.config.pad_token_id == tokenizer.convert_tokens_to_ids(expected)
    assert model(torch.tensor([[5, 6], [7, 8]])).logits.shape == (2, 1)
    model.save_pretrained(folder)
    assert load_config(folder).pad_token_id == model.config.pad_token_id


def test_a_padding_token_that_is_there_stays(model_dir, tokenizer):
    config = load_model(model_dir, scalar_head=True).config
    assert config.pad_token_id == tokenizer.pad_token_id


def test_a_model_that_scores_texts_may_have_no_generation_config(model_dir, tokenizer):
    model = load_model(model_dir, scalar_head=True)
    assert end_tokens(model, tokenizer) == [tokenizer.eos_token_id]


@pytest.mark.parametrize(
    ("said", "length"),
    [
        ({"max_position_embeddings": 64}, 64),
        ({"max_position_embeddings": -1}, None),
        ({"rope_parameters": {"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}}, 1024),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}, 512),
    ],
)
def test_how_long_a_text_may_be(model, said, length):
    for name, value in said.items():
        setattr(model.config, name, value)
    assert context_length(model.config) == length
