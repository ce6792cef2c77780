import copy
import logging

import pytest
import torch
from tiny_models import tiny_config, tiny_model
from tokenizers import Tokenizer, models
from transformers import (
    AutoModelForSequenceClassification,
    GenerationConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
)

from anypo.errors import ModelError
from anypo.models.forward import text_scores
from anypo.models.load import (
    agree,
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


def test_an_end_that_is_learnt_counts_too_and_is_saved(model, tokenizer, tmp_path):
    model.generation_config = GenerationConfig(eos_token_id=7)
    ends = end_tokens(model, tokenizer, [9])
    assert ends == [7, 9, tokenizer.eos_token_id]
    agree(model, tokenizer, ends)
    model.save_pretrained(tmp_path)
    assert GenerationConfig.from_pretrained(tmp_path).eos_token_id == ends


def test_context_length(model_dir):
    assert context_length(load_config(model_dir)) == 512
    assert context_length(Qwen3Config(max_position_embeddings=99)) == 99


@pytest.mark.parametrize("load", [load_model, load_config, load_tokenizer])
def test_what_is_not_there_is_one_sentence(load, tmp_path):
    with pytest.raises(ModelError, match="does not load") as refusal:
        load(str(tmp_path / "nowhere"))
    assert "\n" not in str(refusal.value)


def test_a_name_of_the_hub_that_does_not_load_may_be_meant_as_a_directory():
    with pytest.raises(ModelError, match="does not load: there is no such directory, and of the h"):
        load_config("someone/no-such-model")


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


@pytest.mark.parametrize("path", ["/nonexistent/model", "./no", "~/no", "../no", "no/such/model"])
def test_what_no_model_of_the_hub_is_called_can_only_be_a_directory(path):
    with pytest.raises(ModelError, match=f"^there is no directory '{path}'$"):
        model_path(path)


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "model.gguf").write_text("")
    with pytest.raises(ModelError, match=r"gguf' is a file, but a model is a directory or a name"):
        model_path(str(tmp_path / "model.gguf"))


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


def test_a_kind_of_which_none_scores_texts_is_refused(tmp_path, tokenizer):
    tiny_model(tiny_config("mamba", tokenizer)).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"cannot score texts: .* no such model of type 'mamba'"):
        load_model(str(tmp_path), scalar_head=True)


def test_a_scalar_head_shows_in_the_configuration(model_dir, tmp_path):
    load_model(model_dir, scalar_head=True).save_pretrained(tmp_path)
    assert has_scalar_head(load_config(str(tmp_path)))
    assert not has_scalar_head(load_config(model_dir))


@pytest.fixture
def padded_with(model_dir, tokenizer, tmp_path):
    """The directory of a model, of either kind, whose configuration and tokenizer pad so."""

    def padded_with(pad, *, scalar_head=False):
        folder = str(tmp_path / "model")
        model = load_model(model_dir, scalar_head=scalar_head)
        model.config.pad_token_id = tokenizer.convert_tokens_to_ids(pad) if pad else None
        model.save_pretrained(folder)
        other = copy.deepcopy(tokenizer)
        other.pad_token = pad
        other.save_pretrained(folder)
        return folder

    return padded_with


def last_score(model, ids):
    """The score at the last of the tokens."""
    return model.score(model.model(torch.tensor([ids])).last_hidden_state)[0, -1].item()


@pytest.mark.parametrize("pad", ["<|pad|>", "<|end|>", None])
def test_a_text_that_ends_is_scored_at_its_end_whatever_pads(padded_with, tokenizer, pad, tmp_path):
    model, known = load_model(padded_with(pad), scalar_head=True), copy.deepcopy(tokenizer)
    rows = [[5, 6, 257], [7, 257]]
    agree(model, known, [257])
    model.save_pretrained(tmp_path / "saved")
    known.save_pretrained(tmp_path / "saved")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved").eval()
    reader = load_tokenizer(str(tmp_path / "saved"))
    padded = reader.pad({"input_ids": rows}, padding_side="right", return_tensors="pt")
    with torch.no_grad():
        expected = [last_score(model, row) for row in rows]
        ours = text_scores(model, padded["input_ids"], torch.tensor([3, 2]))
        assert ours.tolist() == pytest.approx(expected, abs=1e-5)
        assert theirs(**padded).logits.squeeze(-1).tolist() == pytest.approx(expected, abs=1e-5)


def test_where_nothing_else_could_pad_the_end_does(padded_with):
    folder = padded_with(None)
    backend = Tokenizer(models.BPE({"a": 0, "<end>": 1}, merges=[]))
    PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<end>").save_pretrained(folder)
    assert load_model(folder, scalar_head=True).config.pad_token_id == 1


def test_a_model_that_scores_texts_is_read_where_it_was_trained_to_be(padded_with):
    model = load_model(padded_with("<|end|>", scalar_head=True), scalar_head=True)
    assert model.config.pad_token_id == 257
    ids = torch.tensor([[5, 6, 257]])
    with torch.no_grad():
        score = text_scores(model, ids, torch.tensor([3])).item()
        assert score == pytest.approx(last_score(model, [5, 6]), abs=1e-5)
        assert score == pytest.approx(model(ids).logits.item(), abs=1e-5)


def test_a_model_that_never_heard_of_padding_is_read_at_the_last_token(padded_with):
    model = load_model(padded_with(None, scalar_head=True), scalar_head=True)
    with torch.no_grad():
        score = text_scores(model, torch.tensor([[5, 6, 257]]), torch.tensor([3])).item()
        assert score == pytest.approx(last_score(model, [5, 6, 257]), abs=1e-5)


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


@pytest.fixture
def raising(monkeypatch):
    """Has the weights of a model load with an error, after which nothing is as it was."""

    def raising(error):
        def load(*_, **__):
            torch.set_default_dtype(torch.float64)
            raise error

        monkeypatch.setattr("transformers.AutoModelForCausalLM.from_pretrained", load)

    return raising


def test_code_of_a_model_that_ends_the_process_is_one_line(model_dir, raising):
    raising(SystemExit("bye"))
    with pytest.raises(ModelError, match=r"model '.*' does not load: SystemExit: bye$"):
        load_model(model_dir)
    assert torch.get_default_dtype() == torch.float32


def test_a_lack_of_memory_is_no_fault_of_the_model(model_dir, raising):
    raising(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    with pytest.raises(RuntimeError, match="allocate memory"):
        load_model(model_dir)


@pytest.mark.parametrize("scores", [False, True])
def test_an_empty_model_is_the_same_but_for_its_weights(model_dir, scores):
    whole = load_model(model_dir, scalar_head=scores, dtype=torch.bfloat16)
    empty = load_model(model_dir, scalar_head=scores, dtype=torch.bfloat16, empty=True)
    assert type(empty) is type(whole)
    assert empty.config.to_diff_dict() == whole.config.to_diff_dict()
    for named in ("named_parameters", "named_buffers"):  # in which those that are tied are one
        one, other = (
            [(name, x.shape, x.dtype) for name, x in getattr(model, named)()]
            for model in (empty, whole)
        )
        assert one == other
    assert all(x.is_meta for x in (*empty.parameters(), *empty.buffers()))
    assert not empty.training
