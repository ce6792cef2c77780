import copy
from pathlib import Path

import pytest
import torch
from accelerate import debug_launcher
from safetensors.torch import load_file, save_file
from torch.distributed.fsdp import fully_shard
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    MixtralConfig,
    Qwen2Config,
)

from anypo.models.adapters import add_lora
from anypo.models.options import AdapterOptions
from anypo.models.weights import whole_weights


def with_adapters(model):
    """The model with adapters that say something."""
    add_lora(model, "base", AdapterOptions(lora_rank=4, lora_alpha=8))
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)
    return model


def test_the_weights_of_an_ordinary_model_are_its_parameters_tied_ones_once(model):
    weights = dict(whole_weights(model))
    assert weights.keys() == dict(model.named_parameters()).keys()
    assert "lm_head.weight" not in weights
    assert all(torch.equal(weights[name], p) for name, p in model.named_parameters())
    assert not any(weight.requires_grad for weight in weights.values())


def test_a_head_of_its_own_is_there(model):
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    assert "lm_head.weight" in dict(whole_weights(model))


def test_numbers_that_a_model_keeps_beside_its_parameters_are_there(model):
    model.model.register_buffer("bias", torch.tensor([0.5]))
    model.model.register_buffer("count", torch.tensor([3]))
    model.model.register_buffer("passing", torch.zeros(1), persistent=False)
    weights = dict(whole_weights(model, torch.bfloat16))
    assert weights["model.bias"].dtype == torch.float32
    assert weights["model.count"].dtype == torch.int64
    assert weights["model.norm.weight"].dtype == torch.bfloat16
    assert "model.passing" not in weights


SIZE = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "vocab_size": 99}
KINDS = {
    "tied": Qwen2Config(
        **SIZE, num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True
    ),
    "untied, with biases": Qwen2Config(**SIZE, num_attention_heads=2, num_key_value_heads=1),
    "transposed": GPT2Config(n_embd=32, n_layer=2, n_head=2, vocab_size=99),
    "experts": MixtralConfig(**SIZE, num_attention_heads=2, num_key_value_heads=1),
}


@pytest.mark.parametrize("kind", KINDS)
def test_adapters_are_merged_in(kind):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(KINDS[kind]).eval()
    names = {name for name, _ in model.named_parameters()}
    before, ids = copy.deepcopy(model), torch.tensor([[65, 66, 67]])
    weights = dict(whole_weights(with_adapters(model)))
    assert weights.keys() == names
    assert not torch.allclose(before(ids).logits, model(ids).logits, atol=1e-3)
    before.load_state_dict(weights, strict=False)
    torch.testing.assert_close(before(ids).logits, model(ids).logits, rtol=1e-5, atol=1e-6)


def test_names_that_look_like_those_of_adapters_stay(model):
    """Unless there are adapters, in which case nobody could tell."""
    model.model.lora_scale = torch.nn.Parameter(torch.ones(1))
    model.model.base_layer = torch.nn.Linear(1, 1)
    names = {"model.lora_scale", "model.base_layer.weight", "model.base_layer.bias"}
    assert names <= dict(whole_weights(model)).keys()


def test_the_model_stays_as_it_was(model):
    model = with_adapters(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    list(whole_weights(model, torch.bfloat16))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def gather(model, folder):
    """Shard the model among the processes, and save what each of them puts together."""
    for layer in model.model.layers:
        fully_shard(layer)
    fully_shard(model)
    assert any(hasattr(p, "full_tensor") for p in model.parameters())
    weights = {name: weight.contiguous() for name, weight in whole_weights(model, torch.bfloat16)}
    save_file(weights, Path(folder, f"{torch.distributed.get_rank()}.safetensors"))


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")  # from Python 3.12 on
@pytest.mark.parametrize("adapted", [False, True])
def test_shards_are_put_together_in_every_process(model, adapted, tmp_path):
    model = with_adapters(model) if adapted else model
    expected = dict(whole_weights(model, torch.bfloat16))
    debug_launcher(gather, (model, str(tmp_path)), num_processes=2)
    for rank in (0, 1):
        found = load_file(tmp_path / f"{rank}.safetensors")
        assert found.keys() == expected.keys()
        for name, weight in expected.items():
            torch.testing.assert_close(found[name], weight, rtol=0.01, atol=1e-6)
