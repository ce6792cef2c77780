"""The experts of a mixture are kept equally busy, as transformers itself would do it."""

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GptOssConfig,
    JetMoeConfig,
    MixtralConfig,
    OlmoeConfig,
    Qwen2MoeConfig,
    Qwen3MoeConfig,
)

from anypo import Plugin, hookimpl
from anypo.errors import ConfigError
from anypo.models.adapters import add_lora
from anypo.models.options import AdapterOptions
from anypo.models.router import recorded_balance, router_coefficient
from anypo.training.metrics import Meter

SMALL = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "moe_intermediate_size": 8,
    "shared_expert_intermediate_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "kv_channels": 8,
    "vocab_size": 300,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "pad_token_id": 0,
}
FAMILIES = [MixtralConfig, Qwen2MoeConfig, Qwen3MoeConfig, OlmoeConfig, GptOssConfig, JetMoeConfig]


def small(family, auto_class=AutoModelForCausalLM, **changes):
    known = {name: value for name, value in SMALL.items() if hasattr(family(), name)}
    torch.manual_seed(0)
    model = auto_class.from_config(family(**{**known, **changes})).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=0.5 if "gate" in name or "router" in name else 0.2)
    return model


@pytest.fixture
def mixture():
    """A mixture of experts, as unbalanced as random weights are."""
    return small(Qwen3MoeConfig, router_aux_loss_coef=0.5)


IDS = torch.tensor([[5, 6, 7, 8, 9], [10, 11, 12, 0, 0]])
REAL = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_loss_is_the_models_own_over_its_real_tokens(family):
    model = small(family)
    expected = model(input_ids=IDS, attention_mask=REAL, output_router_logits=True).aux_loss
    with recorded_balance(model) as losses:
        model.get_decoder()(input_ids=IDS, attention_mask=REAL)
    torch.testing.assert_close(losses, [expected])
    assert expected > 0
    own = getattr(model.config, "router_aux_loss_coef", 0.01)  # which only JetMoE calls otherwise
    assert router_coefficient(model, None) == own > 0
    assert router_coefficient(model, 0.3) == 0.3
    assert router_coefficient(model, 0.0) == 0


def test_nothing_is_recorded_outside_the_block(mixture):
    with recorded_balance(mixture) as losses:
        pass
    outputs = mixture.get_decoder()(input_ids=IDS, attention_mask=REAL)
    assert losses == []
    assert getattr(outputs, "router_logits", None) is None


def test_a_model_without_experts_has_no_such_loss(model):
    assert router_coefficient(model, None) == router_coefficient(model, 0.0) == 0
    with pytest.raises(ConfigError, match=r"^router_loss is set, but .* is known for Qwen3"):
        router_coefficient(model, 0.1)


def test_a_mixture_of_which_every_layer_is_dense_has_no_such_loss():
    dense = small(Qwen3MoeConfig, mlp_only_layers=[0, 1])
    assert router_coefficient(dense, None) == 0


def balance_of(model, batch, rows):
    """The loss of some rows, padded as those need it."""
    part = batch.rows(rows)
    length = int(part.sequence_lengths.max())
    real = torch.arange(length) < part.sequence_lengths.unsqueeze(-1)
    ids = part.input_ids[:, :length]
    return model(input_ids=ids, attention_mask=real.long(), output_router_logits=True).aux_loss


@pytest.mark.parametrize("budget", [10_000, 40, 1])
def test_a_step_adds_the_losses_of_its_micro_batches_by_their_tokens(
    mixture, make_trainer, samples, budget
):
    learner = make_trainer(mixture, knobs={"kl_coef": 0}, token_budget=budget).learner
    batch = learner.algorithm.weigh(learner.prepare(samples, {}), {})
    meter = Meter()
    learner.measure(batch, meter, {})
    cut = learner._micro_batches(batch, learner.algorithm.units(batch))
    parts = [part.rows for part in cut]
    assert len(parts) == {10_000: 1, 40: 2, 1: 12}[budget]
    tokens = [int(batch.sequence_lengths[rows].sum()) for rows in parts]
    weighted = [
        n * balance_of(mixture, batch, rows).item() for n, rows in zip(tokens, parts, strict=True)
    ]
    assert meter.means()["loss/router"] == pytest.approx(0.5 * sum(weighted) / sum(tokens))
    assert meter.means()["loss"] == pytest.approx(
        meter.means()["loss/policy"] + meter.means()["loss/router"], abs=1e-6
    )


@pytest.mark.parametrize("adapted", [False, True])
def test_a_step_moves_the_router_by_it_alone_where_nothing_else_is_learnt(
    mixture, make_trainer, samples, adapted
):
    if adapted:
        add_lora(mixture, "base", AdapterOptions(lora_rank=2, lora_modules=["q_proj", "v_proj"]))
    learner = make_trainer(mixture, knobs={"kl_coef": 0}).learner
    batch = learner.prepare(samples, {})
    batch = learner.algorithm.weigh(
        batch.replace(advantages=torch.zeros_like(batch.advantages)), {}
    )
    for part in learner._micro_batches(batch, learner._units(batch)):
        learner._loss(batch, part, batch.sequence_lengths.sum(), Meter()).total.backward()
    trained = {name: p for name, p in mixture.named_parameters() if p.requires_grad}
    found = {name: p.grad.clone() for name, p in trained.items() if p.grad is not None}
    mixture.zero_grad()
    (0.5 * balance_of(mixture, batch, torch.arange(len(batch)))).backward()
    assert any(grad.any() for grad in found.values())
    for name, grad in found.items():
        expected = trained[name].grad
        expected = torch.zeros_like(grad) if expected is None else expected
        torch.testing.assert_close(grad, expected, rtol=1e-4, atol=1e-6)


def test_training_balances_the_load(mixture, make_trainer, samples):
    options = {"warmup_steps": 0, "learning_rate": 1e-2, "schedule": "constant"}
    learner = make_trainer(mixture, knobs={"kl_coef": 0}, router_loss=10, **options).learner
    batch = learner.prepare(samples, {})
    meters = [Meter() for _ in range(10)]
    for meter in meters:
        learner.update(batch, meter, {})
    first, *_, last = [meter.means()["loss/router"] / 10 for meter in meters]
    assert 2 < last < 2 + 0.6 * (first - 2)  # two experts a token, were all equally busy


def test_it_can_be_switched_off(mixture, make_trainer):
    metrics = make_trainer(mixture, router_loss=0).step(1).metrics
    assert "loss/router" not in metrics


def test_only_a_pass_that_learns_asks_for_it(mixture, make_trainer, samples, monkeypatch):
    trainer = make_trainer(mixture, epochs=2)  # with old log-probs, and a reference
    asked = []
    plain = type(mixture.get_decoder()).forward

    def forward(self, *args, **kwargs):
        asked.append((torch.is_grad_enabled(), "output_router_logits" in kwargs))
        return plain(self, *args, **kwargs)

    monkeypatch.setattr(type(mixture.get_decoder()), "forward", forward)
    trainer.step(1)
    assert sorted(asked) == [(False, False)] * 2 + [(True, True)] * 2


def test_a_model_that_scores_texts_is_balanced_too(make_trainer, samples):
    judge = small(Qwen3MoeConfig, AutoModelForSequenceClassification, num_labels=1)
    learner = make_trainer(judge, "reward_model").learner
    pairs = [samples[i] for i in (0, 3, 4, 6)]
    pairs = [
        type(s)(s.prompt_ids, s.completion_ids, s.group, columns={"preference": 1.0 - 2 * (i % 2)})
        for i, s in enumerate(pairs)
    ]
    meter = Meter()
    learner.measure(learner.prepare(pairs, {}), meter, {})
    assert meter.means()["loss/router"] > 0.001


class HalfFlat(Plugin):
    """Learns nothing of the first two groups."""

    @hookimpl
    def advantage(self, batch):
        """1 or 0."""
        return (batch.group > 1).float()


def test_all_rows_have_old_log_probs_where_all_are_balanced(mixture, make_trainer, samples):
    trainer = make_trainer(mixture, "grpo", HalfFlat, knobs={"kl_coef": 0}, epochs=2)
    assert trainer.learner.algorithm.findings.only_advantages_count
    batch = trainer.learner.prepare(samples, {})
    assert (batch.old_logprobs[batch.mask] < 0).all()
