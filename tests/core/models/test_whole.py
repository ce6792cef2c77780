"""Models of which something is missing, left over or damaged."""

import json
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import tiny_config, tiny_model
from transformers import BertConfig, BertForSequenceClassification, BertLMHeadModel

from anypo.errors import ModelError
from anypo.models.load import load_model, load_tokenizer, model_path

UP = "model.layers.1.mlp.up_proj.weight"


@pytest.fixture
def folder(model_dir, tmp_path):
    """A copy of a model directory, to be spoilt."""
    return shutil.copytree(model_dir, tmp_path / "model")


def change_weights(folder, change):
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def configure(folder, **values):
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def refused(folder, words, **how):
    with pytest.raises(ModelError, match=words) as refusal:
        load_model(str(folder), **how)
    assert "\n" not in str(refusal.value)


# -- a part of it --------------------------------------------------------------------------------


@pytest.mark.parametrize("scalar_head", [False, True])
def test_a_weight_that_the_files_lack_is_named(folder, scalar_head):
    change_weights(folder, lambda weights: weights.pop(UP))
    words = rf"^model '{folder}' is not whole: its files lack '{UP}', which its config"
    refused(folder, words, scalar_head=scalar_head)


def test_layers_that_the_files_lack_are_counted(folder):
    configure(folder, num_hidden_layers=4, layer_types=["full_attention"] * 4)
    refused(folder, r"lack 'model\.layers\.2\..*', '.*', 'model\.layers\.2.*' and 19 more, which")


def test_layers_that_the_configuration_lacks_are_counted(folder):
    configure(folder, num_hidden_layers=1, layer_types=["full_attention"])
    refused(folder, r"would be cut: its files hold 'model\.layers\.1\..* and 8 more, for which")


def test_another_shape_than_the_configuration_says_is_named(folder):
    configure(folder, intermediate_size=128)
    words = r"'model\.layers\.0\..* has the shape \[256, 96\], but .* asks for \[128, 96\]$"
    refused(folder, words)


def test_an_expert_that_the_files_lack_is_one_line(tokenizer, tmp_path):
    tiny_model(tiny_config("qwen3_moe", tokenizer)).save_pretrained(tmp_path)

    def drop(weights):
        weights.pop(max(name for name in weights if name.endswith("up_proj.weight")))

    change_weights(tmp_path, drop)
    refused(tmp_path, "does not load: some of its tensors are missing, or do not fit together$")


def test_tied_heads_may_be_missing_and_others_not(folder):
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    assert load_model(str(folder))
    configure(folder, tie_word_embeddings=False)
    refused(folder, r"lack 'lm_head\.weight', which")


def test_a_head_that_scores_is_made_up_once(folder, tmp_path, model_dir):
    scorer = tmp_path / "scorer"
    load_model(str(folder), scalar_head=True).save_pretrained(scorer)
    load_tokenizer(model_dir).save_pretrained(scorer)
    assert load_model(str(scorer), scalar_head=True)
    change_weights(scorer, lambda weights: weights.pop("score.weight"))
    refused(scorer, r"lack 'score\.weight', which", scalar_head=True)


def test_a_classifier_of_several_labels_gives_its_head_for_one_score(tokenizer, tmp_path):
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = BertConfig(vocab_size=len(tokenizer), intermediate_size=32, **sizes)
    for kind, labels in ((BertForSequenceClassification, 3), (BertLMHeadModel, 2)):
        config.num_labels = labels
        kind(config).save_pretrained(tmp_path)
        tokenizer.save_pretrained(tmp_path)
        assert load_model(str(tmp_path), scalar_head=True).num_labels == 1


def test_what_is_left_over_of_another_kind_is_none_of_it(folder):
    several_tokens_at_a_time = UP.replace("1", "2"), "model.layers.2.enorm.weight"
    names = ("v_head.summary.weight", "vision.layers.7.mlp.weight", *several_tokens_at_a_time)
    change_weights(folder, lambda weights: weights.update({n: torch.zeros(2) for n in names}))
    assert load_model(str(folder))


# -- no numbers ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["nan", "inf", "-inf"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_weight_that_is_no_number_is_named(folder, value, dtype):
    change_weights(folder, lambda weights: weights[UP].view(-1)[7].fill_(float(value)))
    refused(folder, rf"^'{UP}' of model '{folder}' holds NaN or infinity", dtype=dtype)


# -- damaged files -------------------------------------------------------------------------------

DAMAGES = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda content: b"",
    "noise": lambda content: bytes(range(256)) * 4,
    "header": lambda content: content[:8] + b"x" * 50 + content[58:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_are_named_before_they_are_loaded(folder, damage):
    file = folder / "model.safetensors"
    file.write_bytes(DAMAGES[damage](file.read_bytes()))
    with pytest.raises(ModelError, match=rf"^weights '{file}' are damaged, or something else"):
        model_path(str(folder))


class Code:
    """Pickled, it runs when it is loaded."""

    def __reduce__(self):
        return exec, ("raise SystemExit('it ran')",)


@pytest.fixture
def pickled(folder):
    """The file of weights of a model directory that keeps them as torch does."""
    file = folder / "pytorch_model.bin"
    torch.save(load_file(folder / "model.safetensors"), file)
    (folder / "model.safetensors").unlink()
    return file


@pytest.mark.parametrize("damage", [*DAMAGES, "code"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_pickles_are_named_and_run_nothing(folder, pickled, damage):
    good = pickled.read_bytes()
    pickled.write_bytes(pickle.dumps(Code()) if damage == "code" else DAMAGES[damage](good))
    with pytest.raises(ModelError, match=rf"^weights '{pickled}' are damaged, or something else"):
        model_path(str(folder))


def test_a_pickle_of_tensors_is_a_model(folder, pickled):
    assert model_path(str(folder)) == str(folder)
    assert load_model(str(folder))


def test_weights_that_cannot_be_read_say_so(folder):
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(folder / "gone")
    with pytest.raises(ModelError, match=r"^weights '.*model\.safetensors' cannot be read: "):
        model_path(str(folder))


def test_a_shard_that_is_gone_is_one_line(folder):
    model = load_model(str(folder))
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="300KB")
    first = min(folder.glob("*.safetensors"))
    first.unlink()
    refused(folder, rf"does not load: .*{first.name}")


# -- the end of a text ---------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["{", '{"eos_token_id": "end"}', '{"eos_token_id": [1, "end"]}'])
def test_broken_generation_settings_are_an_error_where_something_is_generated(folder, text):
    (folder / "generation_config.json").write_text(text)
    refused(folder, rf"^generation_config.json of '{folder}' does not load: ")
    assert load_model(str(folder), scalar_head=True)
