import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from tiny_models import tiny_config, tiny_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from anypo import Sample, collate, run
from anypo.errors import ConfigError, ModelError
from anypo.models.adapters import add_lora, has_lora, without_lora
from anypo.models.forward import score_tokens
from anypo.models.load import load_model, model_path
from anypo.models.options import AdapterOptions
from anypo.runs.recipe import read_recipe
from anypo_cli.app import main

BATCH = collate([Sample([65, 66], [67, 68, 69], 0, reward=1.0), Sample([70], [71], 0, reward=0.0)])
WARNS = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft does
LAYERS = 14  # linear layers of the built-in model's decoder
OPTIONS = AdapterOptions(lora_rank=4, lora_alpha=8)


def with_modules(*names):
    return OPTIONS.model_copy(update={"lora_modules": list(names)})


def logprobs(model):
    with torch.no_grad():
        return score_tokens(model, BATCH, temperature=1.0).logprobs


@pytest.fixture
def adapted(model):
    """A model with adapters that do nothing yet, and its log-probs before it had any."""
    before = logprobs(model)
    add_lora(model, "base", OPTIONS)
    return model, before


def disturb(model):
    """Change the adapters, as training would."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.1)


def test_new_adapters_change_nothing(adapted):
    model, before = adapted
    assert has_lora(model)
    assert torch.equal(logprobs(model), before)


def test_only_the_adapters_are_trained(adapted):
    model, _ = adapted
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert len(trained) == 2 * LAYERS
    assert all(".lora_" in name for name in trained)


def test_without_its_adapters_a_model_is_what_it_was(adapted):
    model, before = adapted
    disturb(model)
    after = logprobs(model)
    with without_lora(model):
        assert torch.equal(logprobs(model), before)
    assert torch.equal(logprobs(model), after)
    assert not torch.allclose(after, before, atol=0.1)
    assert any(parameter.requires_grad for parameter in model.parameters())


def test_a_model_without_adapters_stays_as_it_is(model):
    before = logprobs(model)
    with without_lora(model):
        assert torch.equal(logprobs(model), before)
    assert not has_lora(model)


def test_layers_can_be_chosen(model):
    add_lora(model, "base", with_modules("q_proj", "v_proj"))
    adapters = {name.split(".lora_")[0] for name, _ in model.named_parameters() if "lora_" in name}
    assert {name.rpartition(".")[2] for name in adapters} == {"q_proj", "v_proj"}


@pytest.mark.parametrize(
    ("modules", "reason"),
    [
        (["q_proj", "v_prj"], r"names 'v_prj', but the body .* no linear layer .*'v_proj'"),
        (["q_norm"], "names 'q_norm', but"),
        (["mlp"], "names 'mlp', but"),
        ([" "], "names ' ', but"),
        (["model.embed_tokens"], "names 'model.embed_tokens', but"),
        (["lm_head", "q_proj"], "names 'lm_head', but"),
    ],
)
def test_layers_that_can_have_no_adapter_are_one_line(model, modules, reason):
    with pytest.raises(ConfigError, match=f"^lora_modules {reason}"):
        add_lora(model, "base", with_modules(*modules))


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_a_rank_that_no_layer_can_have_is_refused(tokenizer, kind):
    model = tiny_model(tiny_config(kind, tokenizer))
    with pytest.raises(ConfigError, match=r"^lora_rank is 33, but no layer of .* a rank of 32$"):
        add_lora(model, "base", AdapterOptions(lora_rank=33))
    add_lora(model, "base", AdapterOptions(lora_rank=32))
    assert has_lora(model)


def test_two_adapters_on_one_weight_are_refused(model):
    """Each would learn an update of its own, and the merged model would have one for both."""
    one, other = (layer.mlp for layer in model.model.layers)
    other.up_proj.weight = one.up_proj.weight
    with pytest.raises(ConfigError, match=r"'model\.layers\.0\.mlp\.up_proj\.weight' and .*\.1\."):
        add_lora(model, "base", OPTIONS)


def test_layers_beside_shared_ones_can_have_adapters(model):
    one, other = (layer.mlp for layer in model.model.layers)
    other.up_proj.weight = one.up_proj.weight
    add_lora(model, "base", with_modules("q_proj"))
    assert has_lora(model)


@pytest.mark.parametrize(
    ("kind", "layer"), [("llama4_text", "router"), ("deepseek_v4", "o_a_proj")]
)
def test_a_layer_that_returns_no_plain_product_gets_no_adapter(tokenizer, kind, layer):
    model = tiny_model(tiny_config(kind, tokenizer))
    add_lora(model, "base", OPTIONS)
    adapted = [name for name, _ in model.named_parameters() if ".lora_" in name]
    assert adapted
    assert any(f".{layer}." in name for name, _ in model.named_parameters())
    assert not [name for name in adapted if f".{layer}." in name]
    logprobs(model)


def test_asking_for_an_adapter_on_what_can_have_none_is_one_line(tokenizer):
    mamba = tiny_model(tiny_config("mamba", tokenizer))
    with pytest.raises(ConfigError, match=r"names 'out_proj', but .* could have one"):
        add_lora(mamba, "base", with_modules("out_proj"))
    add_lora(mamba, "base", OPTIONS)
    assert not [name for name, _ in mamba.named_parameters() if "out_proj.lora_" in name]


# -- in a run ------------------------------------------------------------------------------------


@pytest.fixture
def setting(letters, tmp_path, model, tokenizer):
    """Options of a run of a few seconds that trains adapters."""
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return {
        **letters,
        "model": str(tmp_path / "base"),
        "steps": 3,
        "learning_rate": 1e-2,
        "lora_rank": 4,
        "device": "cpu",
    }


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_adapters_learn(setting):
    metrics = rows(run("grpo", **{**setting, "steps": 16, "minibatches": 2, "learning_rate": 2e-2}))
    assert metrics[-1]["reward/mean"] > metrics[0]["reward/mean"] + 1


@WARNS
def test_the_saved_model_has_its_adapters_merged_in_and_beside_it(setting, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = run("grpo", **{**setting, "model": "base", "save_every": 2}) / "model"
    base = AutoModelForCausalLM.from_pretrained(setting["model"])
    before = logprobs(base)
    merged = logprobs(AutoModelForCausalLM.from_pretrained(folder))
    beside = logprobs(PeftModel.from_pretrained(base, folder / "adapter"))
    torch.testing.assert_close(merged, beside, rtol=0, atol=1e-5)
    assert not torch.allclose(merged, before, atol=1e-3)
    adapter = json.loads((folder / "adapter" / "adapter_config.json").read_text())
    assert (adapter["base_model_name_or_path"], adapter["r"]) == (setting["model"], 4)
    checkpoint = folder.parent / "checkpoints" / "step-000002"
    AutoModelForCausalLM.from_pretrained(checkpoint)
    assert (checkpoint / "adapter").is_dir()


@WARNS
def test_the_next_run_begins_where_this_one_ended(setting, tmp_path):
    first = run("grpo", **setting)
    again = {**setting, "model": str(first), "output": str(tmp_path / "again"), "seed": 3}
    second = run("grpo", **again) / "model"
    beside = PeftModel.from_pretrained(load_model(str(first / "model")), second / "adapter")
    merged = load_model(str(second))
    torch.testing.assert_close(logprobs(merged), logprobs(beside), rtol=0, atol=1e-5)


def test_the_reference_is_the_model_without_its_adapters(setting):
    """With one update per rollout, only another model than the policy is at a distance from it."""
    metrics = rows(run("grpo", **setting, minibatches=1))
    assert metrics[0]["kl/ref"] == pytest.approx(0, abs=1e-9)
    assert metrics[-1]["kl/ref"] > 1e-4


def test_config_toml_repeats_the_run(setting, tmp_path):
    folder = run("grpo", **setting)
    assert read_recipe(str(folder / "config.toml")).options["lora_rank"] == 4
    again = tmp_path / "again"
    repeated = ["run", "--config", str(folder / "config.toml"), "--trust-config"]
    assert main([*repeated, "--output", str(again)]) == 0
    assert [r["loss"] for r in rows(folder)] == [r["loss"] for r in rows(again)]


def test_a_run_without_adapters_does_not_write_down_their_options(setting):
    folder = run("grpo", **{**setting, "lora_rank": None})
    assert not {name for name in read_recipe(str(folder / "config.toml")).options if "lora" in name}


@WARNS
def test_the_head_of_a_new_reward_model_is_trained_and_saved_whole(setting, tmp_path):
    (tmp_path / "pairs.jsonl").write_text('{"prompt": "a", "chosen": "b", "rejected": "c"}\n')
    pairs = {k: v for k, v in setting.items() if k != "reward"}
    folder = run("reward_model", **{**pairs, "data": str(tmp_path / "pairs.jsonl")}) / "model"
    merged = load_model(str(folder), scalar_head=True)
    base = AutoModelForSequenceClassification.from_pretrained(setting["model"], num_labels=1)
    beside = PeftModel.from_pretrained(base, folder / "adapter")
    beside.config.pad_token_id = merged.config.pad_token_id
    ids = torch.tensor([[65, 66, 67]])
    torch.testing.assert_close(merged(ids).logits, beside(ids).logits, rtol=0, atol=1e-5)
    assert load_file(folder / "model.safetensors").keys() == merged.state_dict().keys()


# -- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"lora_rank": None, "lora_alpha": 8}, "lora_alpha is set, but not lora_rank"),
        ({"lora_rank": None, "lora_modules": ["q_proj"]}, "lora_modules is set, but not lora_rank"),
        ({"ref_sync_every": 2}, "ref_sync_every is set, but with lora_rank the reference is the"),
        ({"lora_modules": ["nonesuch"]}, "lora_modules names 'nonesuch'"),
    ],
)
def test_options_that_cannot_work_are_refused(setting, options, reason):
    with pytest.raises(ConfigError, match=reason):
        run("grpo", **{**setting, **options})


def test_a_missing_peft_says_how_to_install_it(setting, monkeypatch):
    monkeypatch.setattr("anypo.support.extras.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"lora_rank needs peft.*pip install 'anypo\[peft\]'$"):
        run("grpo", **setting)
    assert not Path(setting["output"]).exists()
    assert run("grpo", **{**setting, "lora_rank": None, "steps": 1})


def test_an_adapter_alone_is_no_model(setting):
    adapter = run("grpo", **setting) / "model" / "adapter"
    with pytest.raises(ModelError, match=r"is an adapter, not a model: merge it into its base"):
        model_path(str(adapter))
