"""A critic that starts from a reward model says what that says; what does not fit is refused."""

import copy

import pytest
import torch
from tiny_models import tiny_config
from tokenizers import AddedToken
from transformers import AutoModelForSequenceClassification

from anypo.errors import ConfigError
from anypo.hooks.batch import Sample, collate
from anypo.hooks.runtime import Runtime
from anypo.models.adapters import add_lora
from anypo.models.critic import Critic
from anypo.models.forward import score_tokens, text_scores
from anypo.models.load import load_model
from anypo.models.options import AdapterOptions
from anypo.models.warm_start import check_critic_model, start_at

RUNTIME = Runtime(torch.device("cpu"))


@pytest.fixture
def batch():
    samples = [Sample([50, 51, 52][:n], [97] * t, group=0, reward=0.0) for n, t in ((3, 4), (1, 2))]
    return collate(samples)


def started(model, path, **how):
    critic = Critic(model, shares_body=False, shares_frozen=False, **how)
    start_at(critic, path, RUNTIME)
    return critic


def values_of(model, batch, critic):
    return score_tokens(model, batch, temperature=1.0, critic=critic).values


def scores_of(path, batch):
    """What the reward model says of the texts that end before each token."""
    judge = load_model(path, scalar_head=True)
    rows, columns = batch.mask.nonzero(as_tuple=True)
    scores = torch.zeros(batch.mask.shape)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        length = batch.prompt_lengths[row : row + 1] + column
        ids = batch.input_ids[row : row + 1, : int(length)]
        scores[row, column] = text_scores(judge, ids, length).detach()
    return scores


def test_a_value_is_the_score_of_what_precedes_the_token(model, scorer_dir, batch):
    values = values_of(model, batch, started(model, scorer_dir))
    assert values.abs().max() > 0.1
    torch.testing.assert_close(values, scores_of(scorer_dir, batch), rtol=1e-4, atol=1e-4)


def test_the_policy_is_left_alone(model, scorer_dir, weights):
    before = weights(model)
    critic = started(model, scorer_dir)
    assert torch.equal(weights(model), before)
    ours = {id(parameter) for parameter in model.parameters()}
    assert not any(id(parameter) in ours for parameter in critic.parameters())
    assert all(parameter.requires_grad for parameter in critic.parameters())


def test_under_adapters_its_frozen_weights_are_its_own(model, scorer_dir, batch):
    pytest.importorskip("peft")
    frozen = copy.deepcopy(model)
    add_lora(model, "base", AdapterOptions(lora_rank=2))
    critic = started(model, scorer_dir)
    torch.testing.assert_close(
        values_of(model, batch, critic), scores_of(scorer_dir, batch), rtol=1e-4, atol=1e-4
    )
    trained = [name for name, weight in critic.named_parameters() if weight.requires_grad]
    assert "head.weight" in trained
    assert all("lora_" in name for name in trained if name != "head.weight")
    kept = dict(frozen.named_parameters())["model.embed_tokens.weight"]
    assert torch.equal(model.get_input_embeddings().weight, kept)


@pytest.fixture
def refused(model_dir, tokenizer):
    """Why a critic of the built-in model cannot start from a model."""

    def refused(path, tokenizer=tokenizer):
        with pytest.raises(ConfigError, match=r"^critic_model '.*' (is|has|makes) ") as error:
            check_critic_model(str(path), model_dir, tokenizer, trusted=False)
        return str(error.value)

    return refused


def saved(config, tokenizer, folder):
    config.num_labels = 1
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_reward_model_of_the_policy_fits(scorer_dir, model_dir, tokenizer):
    check_critic_model(scorer_dir, model_dir, tokenizer, trusted=False)


def test_a_model_that_does_not_score_is_refused(refused, model_dir):
    assert "does not score texts" in refused(model_dir)


def test_another_tokenizer_is_refused(refused, scorer_dir, tokenizer):
    other = copy.deepcopy(tokenizer)
    other.add_tokens([AddedToken("<new>", special=True)])
    assert "'<new>', is none there" in refused(scorer_dir, other)


def test_another_architecture_or_size_is_refused(refused, tokenizer, tmp_path):
    says = refused(saved(tiny_config("gpt_neox", tokenizer), tokenizer, tmp_path / "neox"))
    assert "is built otherwise than the policy" in says
    larger = load_model_config(tokenizer)
    larger.intermediate_size *= 2
    says = refused(saved(larger, tokenizer, tmp_path / "larger"))
    assert "mlp." in says
    assert "in it and" in says


def load_model_config(tokenizer):
    from anypo_tasks.addition.model import build_model

    return copy.deepcopy(build_model(tokenizer, seed=0).config)


def test_what_computes_otherwise_with_the_same_weights_is_refused(model, tokenizer, tmp_path):
    config = load_model_config(tokenizer)
    config.hidden_act = "relu" if config.hidden_act != "relu" else "gelu"
    folder = saved(config, tokenizer, tmp_path / "other")
    with pytest.raises(ConfigError, match="bodies say different things"):
        started(model, str(folder))


def test_a_head_that_is_no_head_of_a_critic_is_refused(refused, tokenizer, tmp_path, monkeypatch):
    folder = saved(load_model_config(tokenizer), tokenizer, tmp_path / "deep")

    def deep(*args, **given):
        made = load_model(*args, **given)
        if given.get("scalar_head"):
            made.score = torch.nn.Sequential(made.score, torch.nn.Linear(1, 1))
        return made

    monkeypatch.setattr("anypo.models.warm_start.load_model", deep)
    assert "otherwise than by one linear head" in refused(folder)
