import copy
from types import SimpleNamespace

import pytest
import torch
from tiny_models import tiny_config, tiny_model

from anypo import Prompt, Sample, collate
from anypo.errors import ConfigError
from anypo.hooks.runtime import CPU, Runtime
from anypo.hooks.sampler import SamplingRequest
from anypo.models.adapters import add_lora
from anypo.models.checkpointing import LARGE, checkpoint_activations
from anypo.models.critic import Critic
from anypo.models.forward import TokenScorer
from anypo.models.options import AdapterOptions
from anypo.sampling.generate import TransformersEngine

BATCH = collate([Sample([65 + i] * 20, [97 + i] * 12, i) for i in range(4)])


def checkpointed(model):
    again = copy.deepcopy(model)
    checkpoint_activations(again, True, CPU)
    return again


def learn(model, critic=None, *, balanced=False):
    """The loss, its gradient, and the bytes that are kept for it beside weights."""
    kept = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    scorer = TokenScorer(model, critic)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        scores = scorer(BATCH, balanced=balanced)
    parts = [scores.logprobs.sum(), 0 if critic is None else scores.values.sum()]
    loss = sum([*parts, 10 * scores.balance if balanced else 0])
    weights = [weight for weight in scorer.parameters() if weight.requires_grad]
    gradient = torch.autograd.grad(loss, weights, allow_unused=critic is not None)
    own = {weight.untyped_storage().data_ptr() for weight in scorer.parameters()}
    return loss, gradient, sum(size for place, size in kept.items() if place not in own)


DROPOUT = {
    "gpt2": ("attn_pdrop", "resid_pdrop", "embd_pdrop"),
    "opt": ("dropout", "attention_dropout", "layerdrop"),
}


@pytest.mark.parametrize("kind", DROPOUT)
def test_loss_and_gradient_stay_while_activations_go_also_where_dropout_is_configured(
    kind, tokenizer
):
    config = tiny_config(kind, tokenizer)
    config.update(dict.fromkeys(DROPOUT[kind], 0.5))
    model = tiny_model(config)
    loss, gradient, kept = learn(model)
    again, same, little = learn(checkpointed(model))
    assert torch.equal(loss, again)
    assert all(map(torch.equal, gradient, same))
    assert little < kept / 4


KINDS = {
    "keys and values shared by layers": "gemma3n_text",
    "recurrence beside attention": "falcon_h1",
    "routers that are linear layers": "llama4_text",
    "latent attention": "deepseek_v3",
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_other_architectures_learn_the_same(kind, tokenizer):
    model = tiny_model(tiny_config(kind, tokenizer))
    (loss, gradient, kept), (again, same, little) = learn(model), learn(checkpointed(model))
    assert torch.equal(loss, again)
    assert all(map(torch.equal, gradient, same))
    assert little < kept / 4


def test_adapters_learn_the_same(model):
    add_lora(model, "base", AdapterOptions(lora_rank=4))
    loss, gradient, kept = learn(model)
    again, same, little = learn(checkpointed(model))
    assert torch.equal(loss, again)
    assert all(map(torch.equal, gradient, same))
    assert any(part.any() for part in gradient)
    assert little < kept / 2


def test_the_balance_of_experts_counts_once(tokenizer):
    model = tiny_model(tiny_config("qwen3_moe", tokenizer))
    loss, gradient, _ = learn(model, balanced=True)
    again, same, _ = learn(checkpointed(model), balanced=True)
    assert torch.equal(loss, again)
    assert not torch.equal(loss, learn(model)[0])
    assert all(map(torch.equal, gradient, same))


def test_a_critic_of_its_own_keeps_its_inputs_alone_too(model):
    def learnt(policy):
        critic = Critic(policy, shares_body=False)
        torch.nn.init.ones_(critic.head.weight)
        return learn(policy, critic)

    loss, gradient, kept = learnt(model)
    again, same, little = learnt(checkpointed(model))
    assert torch.equal(loss, again)
    assert all(map(torch.equal, gradient, same))
    assert little < kept / 2


def test_sampling_goes_on_with_its_cache(model):
    request = SamplingRequest([Prompt([65, 66, 67], "")], 2, (257,), 6)

    def drawn(model):
        read = []
        embeddings = model.get_input_embeddings()
        embeddings.register_forward_hook(lambda _, args, __: read.append(args[0].numel()))
        torch.manual_seed(0)
        return TransformersEngine(model, Runtime()).sample(request), read

    again = checkpointed(model)
    assert drawn(model) == drawn(again)


def test_a_model_of_which_transformers_knows_no_layers_is_refused(tokenizer):
    model = tiny_model(tiny_config("ctrl", tokenizer))
    with pytest.raises(ConfigError, match=r"transformers cannot do it for CTRLLMHeadModel: leave"):
        checkpoint_activations(model, True, CPU)
    checkpoint_activations(model, None, CPU)


@pytest.mark.parametrize(
    ("device", "size", "asked", "done"),
    [
        ("cuda", LARGE + 1, None, True),
        ("cuda", LARGE + 1, False, False),
        ("cuda", LARGE, None, False),
        ("cpu", LARGE + 1, None, False),
        ("cpu", 1, True, True),
    ],
)
def test_large_models_on_a_gpu_do_it_unless_told_otherwise(model, device, size, asked, done):
    layer = model.model.layers[0]
    stub = SimpleNamespace(num_parameters=lambda: size, modules=lambda: [layer])
    checkpoint_activations(stub, asked, torch.device(device))
    assert ("forward" in vars(layer)) == done
