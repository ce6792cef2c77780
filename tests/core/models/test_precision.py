import copy

import pytest
import torch
from tiny_models import save, tiny_config, tiny_model
from transformers import AutoModelForCausalLM, Qwen3Config

from anypo import Sample, collate
from anypo.errors import ConfigError, ModelError
from anypo.hooks.runtime import Runtime
from anypo.models.adapters import add_lora, without_lora
from anypo.models.checks import check_head, sharing_of
from anypo.models.critic import Critic
from anypo.models.forward import score_tokens
from anypo.models.load import frozen_copy, load_model
from anypo.models.options import AdapterOptions
from anypo.models.precision import shrink_frozen, stored_as
from anypo.models.weights import whole_weights
from anypo.runs.directory import RunDirectory

BATCH = collate([Sample([65 + i] * 3, [97 + i] * 4, i) for i in range(4)])
OPTIONS = AdapterOptions(lora_rank=4)
IN_BFLOAT16 = Runtime(dtype=torch.bfloat16)


def said(model, runtime=IN_BFLOAT16, **options):
    with runtime.autocast():
        return score_tokens(model, BATCH, temperature=1.0, **options).logprobs


def size(model):
    return sum(weight.nbytes for weight in model.parameters())


def linear(model):
    return model.model.layers[0].mlp.down_proj


# -- bfloat16 ------------------------------------------------------------------------------------


def test_a_frozen_copy_says_the_same_in_less_memory(model):
    copied = frozen_copy(model, torch.bfloat16)
    assert torch.equal(said(copied), said(model))
    assert size(copied) < 0.6 * size(model)
    assert linear(copied).weight.dtype == torch.bfloat16
    assert copied.lm_head.weight.dtype == copied.model.norm.weight.dtype == torch.float32
    assert linear(model).weight.dtype == torch.float32
    assert all(weight.requires_grad for weight in model.parameters())
    assert not any(weight.requires_grad for weight in copied.parameters())


@pytest.mark.parametrize("dtype", [None, torch.float32])
def test_a_frozen_copy_in_float32_is_a_copy_too(model, dtype):
    copied = frozen_copy(model, dtype)
    places = {weight.data_ptr() for weight in model.parameters()}
    assert not any(weight.data_ptr() in places for weight in copied.parameters())
    assert torch.equal(said(copied, Runtime()), said(model, Runtime()))


def test_what_is_under_adapters_takes_less_memory_and_nothing_is_learnt_otherwise(model):
    add_lora(model, "base", OPTIONS)
    other = copy.deepcopy(model)
    shrink_frozen(other, torch.bfloat16)
    assert size(other) < 0.7 * size(model)
    gradients = []
    for one in (model, other):
        said(one).sum().backward()
        gradients.append([w.grad for w in one.parameters() if w.requires_grad])
        assert {w.dtype for w in one.parameters() if w.requires_grad} == {torch.float32}
    assert torch.equal(said(model), said(other))
    assert all(map(torch.equal, *gradients))


def test_prompts_are_shared_above_what_is_small(model):
    add_lora(model, "base", OPTIONS)
    shrink_frozen(model, torch.bfloat16)
    assert sharing_of(model, 12, IN_BFLOAT16) is not None


def test_a_critic_shares_what_is_small(model):
    add_lora(model, "base", OPTIONS)
    shrink_frozen(model, torch.bfloat16)
    critic = Critic(model, shares_body=False)
    said(model, critic=critic)
    own = {weight.data_ptr() for weight in model.parameters() if not weight.requires_grad}
    assert {w.data_ptr() for w in critic.parameters() if not w.requires_grad} <= own


def test_in_float32_everything_stays(model):
    shrink_frozen(model.requires_grad_(False), torch.float32)
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}


@pytest.mark.parametrize("moves", [False, True])
def test_a_reference_that_moves_stays_float32_since_small_steps_would_be_lost(
    model, make_trainer, moves
):
    options = {"ref_sync_every": 1, "ref_sync_alpha": 0.01} if moves else {}
    trainer = make_trainer(model, dtype="bfloat16", warmup_steps=0, **options)
    reference = trainer.learner.compared.models["reference"]
    before = linear(reference).weight.clone()
    assert before.dtype == (torch.float32 if moves else torch.bfloat16)
    trainer.step(1)
    assert torch.equal(before, linear(reference).weight) != moves


def test_trained_weights_may_be_bfloat16(model_dir, make_trainer, tmp_path, tokenizer, weights):
    stored = stored_as("bfloat16", None, IN_BFLOAT16)
    model = load_model(model_dir, **stored)
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    check_head(model, rounded=True)
    before = weights(model)
    trainer = make_trainer(model, dtype="bfloat16", warmup_steps=0, learning_rate=0.01)
    assert trainer.step(1).metrics["grad_norm"] > 0
    assert not torch.equal(weights(model), before)
    folder = RunDirectory(str(tmp_path / "run"), "run").save(model, tokenizer, 1)
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.bfloat16


def test_what_adapters_add_to_bfloat16_is_saved_in_float32(model_dir, tokenizer, tmp_path):
    model = load_model(model_dir, **stored_as("bfloat16", None, IN_BFLOAT16))
    add_lora(model, "base", OPTIONS)
    assert {w.dtype for w in model.parameters() if w.requires_grad} == {torch.float32}
    folder = RunDirectory(str(tmp_path / "run"), "run").save(model, tokenizer, 1)
    assert AutoModelForCausalLM.from_pretrained(folder).dtype == torch.float32


def test_weights_are_as_precise_as_the_computation():
    with pytest.raises(ConfigError, match=r"weights is bfloat16, but .*: set dtype to bfloat16"):
        stored_as("bfloat16", None, Runtime())


# -- four bits -----------------------------------------------------------------------------------


@pytest.fixture
def blocks(tokenizer, tmp_path):
    """A model whose layers have as many inputs as a block of four-bit numbers, and its folder."""
    pytest.importorskip("bitsandbytes")
    config = tiny_config("qwen3", tokenizer)
    config.update({"hidden_size": 64, "intermediate_size": 128, "head_dim": 16})
    model = tiny_model(config)
    return model, save(model, tokenizer, tmp_path / "base")


@pytest.fixture(params=[torch.float32, torch.bfloat16], ids=str)
def quantized(request, blocks):
    """The same with linear layers of four bits, and how it is computed."""
    runtime = Runtime(dtype=request.param)
    return load_model(blocks[1], **stored_as("float32", "nf4", runtime)), runtime


def test_layers_that_bitsandbytes_misreads_are_refused(model, tmp_path):
    pytest.importorskip("bitsandbytes")
    model.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"q_proj' has 96 inputs, which is no multiple of 64"):
        load_model(str(tmp_path), **stored_as("float32", "nf4", Runtime()))


def test_linear_layers_have_four_bits_and_are_about_the_same(quantized, blocks):
    (small, runtime), (model, _) = quantized, blocks
    assert linear(small).weight.nbytes * 8 == linear(model).weight.nbytes
    weights = dict(whole_weights(model))
    add_lora(small, "base", OPTIONS)
    for name, weight in whole_weights(small):
        known = weights.pop(name)
        assert weight.shape == known.shape
        assert (weight - known).norm() < 0.12 * known.norm()  # as far as 4 bits are from a normal
    assert not weights
    check_head(small, rounded=runtime.dtype != torch.float32)


def test_adapters_learn_on_four_bits(quantized, make_trainer):
    small, runtime = quantized
    add_lora(small, "base", OPTIONS)
    before = said(small, runtime)
    packed = linear(small).base_layer.weight.clone()
    name = str(runtime.dtype)[6:]
    trainer = make_trainer(
        small, dtype=name, warmup_steps=0, learning_rate=0.1, gradient_checkpointing=True
    )
    assert trainer.step(1).metrics["grad_norm"] > 0
    assert not torch.equal(said(small, runtime), before)
    with without_lora(small):
        assert torch.equal(said(small, runtime), before)
    assert torch.equal(linear(small).base_layer.weight, packed)


def test_the_saved_model_is_whole_and_says_what_the_quantized_one_says(
    quantized, tokenizer, tmp_path
):
    small, runtime = quantized
    add_lora(small, "base", OPTIONS)
    with torch.no_grad():
        for name, weight in small.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.1)
    folder = RunDirectory(str(tmp_path / "run"), "run").save(small, tokenizer, 1)
    saved = AutoModelForCausalLM.from_pretrained(folder)
    assert type(saved.config) is Qwen3Config
    assert not hasattr(saved.config, "quantization_config")
    assert {weight.dtype for weight in saved.parameters()} == {torch.float32}
    assert (folder / "adapter" / "adapter_model.safetensors").exists()
    close = 1e-4 if runtime.dtype == torch.float32 else 0.2
    torch.testing.assert_close(said(saved, runtime), said(small, runtime), rtol=0, atol=close)


def test_a_new_scalar_head_is_not_quantized(blocks):
    stored = stored_as("float32", "nf4", Runtime())
    scorer = load_model(blocks[1], scalar_head=True, **stored)
    assert scorer.score.weight.dtype == torch.float32
    assert linear(scorer).weight.dtype == torch.uint8
    add_lora(scorer, "base", OPTIONS)
    assert any("score" in n for n, weight in scorer.named_parameters() if weight.requires_grad)
    assert all(torch.isfinite(weight).all() for _, weight in whole_weights(scorer))
