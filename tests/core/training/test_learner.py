import copy
from dataclasses import replace

import pytest
import torch

from anypo import Plugin, Prompt, hookimpl
from anypo import functional as F
from anypo.errors import TrainingError
from anypo.hooks.batch import Completion
from anypo.models.adapters import add_lora
from anypo.models.forward import TokenScorer
from anypo.models.load import load_model
from anypo.models.options import AdapterOptions
from anypo.training.learner import Learner
from anypo.training.metrics import Meter


def metrics_of(trainer):
    return [
        {k: v for k, v in report.metrics.items() if not k.startswith(("seconds", "tokens"))}
        for report in trainer.train()
    ]


def test_micro_batches_change_nothing(model, make_trainer, weights):
    models = [copy.deepcopy(model) for _ in range(2)]
    one, many = (make_trainer(m, token_budget=b) for m, b in zip(models, (10_000, 9), strict=True))
    first, second = metrics_of(one), metrics_of(many)
    torch.testing.assert_close(weights(models[0]), weights(models[1]), rtol=1e-4, atol=1e-5)
    for a, b in zip(first, second, strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)


@pytest.fixture
def forward_passes(monkeypatch):
    """Of every forward pass of a step: whether by the policy, whether with gradient, its groups."""

    def forward_passes(trainer):
        calls = []
        plain = TokenScorer.forward

        def counting(scorer, batch, *line, **options):
            by_policy = scorer.model is trainer.learner.model
            calls.append((by_policy, torch.is_grad_enabled(), batch.group.tolist()))
            return plain(scorer, batch, *line, **options)

        monkeypatch.setattr(TokenScorer, "forward", counting)
        trainer.step(1)
        return calls

    return forward_passes


def test_one_update_per_rollout_makes_no_extra_forward_pass(model, forward_passes, make_trainer):
    calls = forward_passes(make_trainer(model))
    assert sorted(call[:2] for call in calls) == [(False, False), (True, True)]


def test_several_updates_store_the_old_log_probs_once(model, forward_passes, make_trainer):
    calls = [call[:2] for call in forward_passes(make_trainer(model, epochs=2, minibatches=2))]
    assert calls.count((True, False)) == 1
    assert calls.count((True, True)) == 4


# -- rows without weight -------------------------------------------------------------------------


class OneGroupLess(Plugin):
    """Learns nothing from the middle one of three groups."""

    @hookimpl
    def weight(self, batch):
        """1 / |y|, of groups 0 and 2."""
        return F.token_mean(batch.mask & (batch.group != 1).unsqueeze(-1))


class InPairs(OneGroupLess):
    """The same, with rows that stay together."""

    couples = "group"


@pytest.mark.parametrize("plugin", [OneGroupLess, InPairs])
def test_rows_without_weight_make_no_forward_pass_with_gradient(
    model, forward_passes, make_trainer, plugin
):
    calls = forward_passes(make_trainer(model, "grpo", plugin))
    trained = [group for _, with_gradient, groups in calls if with_gradient for group in groups]
    assert sorted(trained) == [0] * 4 + [2] * 4


def test_a_row_without_weight_stays_with_the_row_it_is_compared_with(
    model, forward_passes, make_trainer
):
    class FirstRows(Plugin):
        couples = "group"

        @hookimpl
        def weight(self, batch):
            first = torch.arange(len(batch)) % 4 == 0
            return F.token_mean(batch.mask & first.unsqueeze(-1))

    calls = forward_passes(make_trainer(model, "grpo", FirstRows))
    assert sorted(calls[-1][-1]) == [0] * 4 + [1] * 4 + [2] * 4


@pytest.fixture
def flat_scorer(scorer):
    """Gives all completions of the second prompt the same reward, and so no advantage."""

    def flat_scorer(prompts, samples):
        found = scorer(prompts, samples)
        return [replace(s, reward=1.0) if s.group == 1 else s for s in found]

    return flat_scorer


def test_groups_of_equal_rewards_make_no_forward_pass(
    model, forward_passes, make_trainer, flat_scorer
):
    trainer = make_trainer(model, knobs={"kl_coef": 0}, epochs=2)
    trainer.scorer = flat_scorer
    for _, _, groups in forward_passes(trainer):  # neither for old log-probs nor for a loss
        assert sorted(groups) == [0] * 4 + [2] * 4


def test_leaving_them_out_changes_no_update(model, make_trainer, weights, flat_scorer, monkeypatch):
    models, norms = [copy.deepcopy(model) for _ in range(2)], []
    for trained, leaves_out in zip(models, (True, False), strict=True):
        trainer = make_trainer(trained, knobs={"kl_coef": 0}, warmup_steps=0, minibatches=2)
        trainer.scorer = flat_scorer
        if not leaves_out:
            monkeypatch.setattr(Learner, "_units", lambda self, batch: self.algorithm.units(batch))
        norms.append(trainer.step(1).metrics["grad_norm"])
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    torch.testing.assert_close(weights(models[0]), weights(models[1]), rtol=1e-4, atol=1e-5)
    assert not torch.equal(weights(models[0]), weights(model))


def test_a_step_that_teaches_nothing_moves_nothing(model, make_trainer, weights, scorer):
    before = weights(model)
    trainer = make_trainer(model, knobs={"kl_coef": 0}, warmup_steps=0)
    trainer.scorer = lambda *given: [replace(s, reward=1.0) for s in scorer(*given)]
    report = trainer.step(1)
    assert report.metrics["grad_norm"] == report.metrics["loss"] == 0
    assert torch.equal(weights(model), before)


def test_leaving_out_rows_without_weight_changes_no_update(
    model, make_trainer, weights, monkeypatch
):
    options = {"warmup_steps": 0, "minibatches": 2, "token_budget": 20}
    models = [copy.deepcopy(model) for _ in range(2)]
    short, whole = (make_trainer(m, "grpo", OneGroupLess, **options) for m in models)
    norms = [short.step(1).metrics["grad_norm"]]
    cut = Learner._micro_batches
    whole_batches = lambda self, batch, _: cut(self, batch, self.algorithm.units(batch))  # noqa: E731
    monkeypatch.setattr(Learner, "_micro_batches", whole_batches)
    norms.append(whole.step(1).metrics["grad_norm"])
    assert norms[0] == pytest.approx(norms[1], rel=1e-4)
    torch.testing.assert_close(weights(models[0]), weights(models[1]), rtol=1e-4, atol=1e-5)
    assert not torch.equal(weights(models[0]), weights(model))


def test_an_update_of_which_nothing_has_a_weight_moves_nothing(model, make_trainer, weights):
    class Nothing(Plugin):
        @hookimpl
        def weight(self, batch):
            return F.token_mean(batch.mask) * (len(batch) != 12)

    before = weights(model)
    report = make_trainer(model, "grpo", Nothing, warmup_steps=0).step(1)
    assert report.metrics["grad_norm"] == 0
    assert torch.equal(weights(model), before)


# -- measuring -----------------------------------------------------------------------------------


def test_measuring_learns_nothing(model, make_trainer, samples, weights):
    learner = make_trainer(model).learner
    before = weights(model)
    meter = Meter()
    learner.measure(learner.prepare(samples, {}), meter, {})
    assert "clip/fraction" not in meter.sums  # it takes a gradient
    assert torch.equal(weights(model), before)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not learner.optimizer.state


@pytest.mark.parametrize("budget", [9, 10_000])
def test_what_is_measured_is_the_loss_that_would_be_trained_on(
    model, make_trainer, samples, budget
):
    trainer = make_trainer(model, token_budget=budget)
    measured, trained = Meter(), Meter()
    batch = trainer.learner.prepare(samples, {})
    batch = batch.replace(
        advantages=2.0 * batch.mask, ref_logprobs=batch.ref_logprobs - torch.rand(batch.mask.shape)
    )
    trainer.learner.measure(batch, measured, {})
    trainer.learner.update(batch, trained, {})
    assert measured.terms["policy"].item() == pytest.approx(-2)
    assert measured.terms["kl"] > 1e-3
    assert measured.terms.keys() == trained.terms.keys()
    for name, term in measured.terms.items():
        assert term.item() == pytest.approx(trained.terms[name].item(), rel=1e-4)


# -- completions of a data set -------------------------------------------------------------------


def test_a_model_that_scores_texts_learns_to_rank_pairs(model_dir, make_trainer):
    torch.manual_seed(0)
    model = load_model(model_dir, scalar_head=True)
    held = {"chosen": Completion([97, 98, 257]), "rejected": Completion([99, 257])}
    prompts = [Prompt([50 + i], "", {}, held) for i in range(3)]
    trainer = make_trainer(model, "reward_model", steps=8, warmup_steps=0)
    trainer.prompts.prompts = prompts
    reports = [report.metrics for report in trainer.train()]
    assert reports[-1]["rewards/margins"] > reports[0]["rewards/margins"] + 0.5
    assert reports[-1]["rewards/accuracies"] == 1
    assert "entropy" not in reports[0]
    assert not [name for name in reports[0] if name.startswith(("reward/", "ratio/"))]


# -- updates -------------------------------------------------------------------------------------


def test_the_schedule_ends_at_zero_with_the_last_update(model, make_trainer):
    trainer = make_trainer(model, epochs=3, minibatches=2, warmup_steps=0)
    list(trainer.train())
    assert trainer.learner.schedule.get_last_lr() == [0.0]
    assert trainer.sampler.synced == 2


class Pairs(Plugin):
    """Rows of a group must not be separated."""

    couples = "group"

    @hookimpl
    def weight(self, batch):
        """Alike."""
        return F.token_mean(batch.mask)


def test_coupled_rows_share_every_minibatch_and_micro_batch(model, make_trainer, samples):
    trainer = make_trainer(model, "grpo", Pairs, token_budget=9, minibatches=2)
    batch = trainer.learner.prepare(samples, {})
    units = trainer.learner.algorithm.units(batch)
    cut = trainer.learner._micro_batches(batch, units)
    parts = [*trainer._minibatches(batch, step=1), *(part.rows for part in cut)]
    for part in parts:
        groups = batch.group[part].tolist()
        assert all(groups.count(group) == 4 for group in groups)


class Exploding(Plugin):
    """A gain that overflows once the real batch comes."""

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """r A, times infinity for batches of more than 10 rows."""
        return log_ratio.exp() * advantages * (torch.inf if len(batch) == 12 else 1.0)


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(
    model, make_trainer, weights
):
    trainer = make_trainer(model, "grpo", Exploding)
    before = weights(model)
    with pytest.raises(TrainingError, match="gradient is not finite"):
        trainer.step(1)
    assert torch.equal(weights(model), before)


# -- reference and critic ------------------------------------------------------------------------


@pytest.mark.parametrize(("alpha", "share"), [(1.0, 1.0), (0.25, 0.25)])
def test_the_reference_moves_towards_the_policy(model, alpha, share, make_trainer, weights, kept):
    options = {"ref_sync_every": 2, "ref_sync_alpha": alpha, "warmup_steps": 0, "steps": 4}
    trainer = make_trainer(model, **options)
    start = weights(trainer.learner.compared.models["reference"])
    trainer.step(1)
    assert torch.equal(weights(trainer.learner.compared.models["reference"]), start)
    assert "reference_moved" not in trainer.state
    trainer.step(2)
    assert trainer.state["reference_moved"] == 2
    expected = start + share * (weights(model) - start)
    torch.testing.assert_close(weights(trainer.learner.compared.models["reference"]), expected)
    moved = weights(trainer.learner.compared.models["reference"])
    saved = {name: w for name, w in kept(trainer).items() if name.startswith("weights/")}
    assert sum(weight.numel() for weight in saved.values()) == len(moved)
    assert {name.split(".")[0] for name in saved} == {"weights/reference"}


class Valued(Plugin):
    """Rewards minus a critic's estimate, which learns them."""

    @hookimpl
    def advantage(self, batch):
        """r - V_t; [N, T]."""
        returns = batch.rewards.unsqueeze(-1).expand(batch.mask.shape)
        return {"advantages": returns - batch.values, "returns": returns}

    @hookimpl
    def regularizer(self, values, batch):
        """(V - R)^2; [N, T]."""
        return {"value": (values - batch["returns"]).square()}


@pytest.mark.parametrize("adapted", [False, True])
@pytest.mark.parametrize("critic", ["own", "shared"])
def test_a_critic_learns_the_return(model, critic, adapted, make_trainer, kept):
    if adapted:
        add_lora(model, "base", AdapterOptions(lora_rank=4, lora_alpha=8))
    options = {"critic": critic, "critic_learning_rate": 2e-2, "steps": 12, "warmup_steps": 0}
    trainer = make_trainer(model, "grpo", Valued, **options)
    losses = [report.metrics["loss/value"] for report in trainer.train()]
    assert losses[0] == pytest.approx((1 + 4 + 9 + 16) / 4, rel=0.05)
    assert losses[-1] < losses[0] / 4
    saved = [name for name in kept(trainer) if name.startswith("weights/critic.")]
    assert "weights/critic.head.weight" in saved
    assert any("lora_" in name for name in saved) == (adapted and critic == "own")
    assert not any("base_layer" in name for name in saved)


@pytest.mark.parametrize("critic", ["own", "shared"])
def test_a_warm_up_trains_the_critic_alone(model, critic, make_trainer, weights):
    trainer = make_trainer(
        model, "grpo", Valued, critic=critic, critic_warmup_steps=1, warmup_steps=0
    )
    before, head = weights(model), trainer.learner.critic.head.weight.clone()
    trainer.step(1)
    assert torch.equal(weights(model), before)
    assert not torch.equal(trainer.learner.critic.head.weight, head)
    trainer.step(2)
    assert not torch.equal(weights(model), before)


def test_a_critic_of_its_own_leaves_the_policy_alone(model, make_trainer, weights):
    trainer = make_trainer(model, "grpo", Valued, learning_rate=1e-12, weight_decay=0.0)
    before = weights(model)
    list(trainer.train())
    torch.testing.assert_close(weights(model), before, rtol=0, atol=1e-9)


def test_a_step_without_a_gradient_moves_nothing(model, make_trainer, weights):
    trainer = make_trainer(model, knobs={"kl_coef": 0}, warmup_steps=0, steps=3)
    trainer.step(1)
    before = weights(model)
    trainer.scorer = lambda _, samples: [replace(s, reward=1.0) for s in samples]
    assert trainer.step(2).metrics["grad_norm"] == 0
    assert torch.equal(weights(model), before)


def test_a_constant_schedule_warms_up_too(model, make_trainer):
    trainer = make_trainer(model, schedule="constant", warmup_steps=2)
    rates = []
    for step in range(1, 4):
        trainer.step(step)
        rates.append(trainer.learner.schedule.get_last_lr()[0])
    assert rates == pytest.approx([5e-4, 1e-3, 1e-3])


def decay_alone(trainer):
    """Which weights a step moves whose gradient says nothing, by their names."""
    learner = trainer.learner
    parts = [part for part in (learner.model, learner.critic) if part is not None]
    weights = {name: p for part in parts for name, p in part.named_parameters() if p.requires_grad}
    for parameter in weights.values():
        parameter.data.fill_(1.0)
        parameter.grad = torch.zeros_like(parameter)
    learner.optimizer.step()
    return {name: not torch.equal(p, torch.ones_like(p)) for name, p in weights.items()}


@pytest.mark.parametrize("adapted", [False, True])
def test_norms_and_biases_do_not_decay(model, make_trainer, adapted):
    model.lm_head.bias = torch.nn.Parameter(torch.zeros(model.lm_head.out_features))
    model.model.experts_bias = torch.nn.Parameter(torch.zeros(2, 3))
    model.model.norm.weight.data.unsqueeze_(0)  # as where every head has a norm of its own
    if adapted:
        add_lora(model, "base", AdapterOptions(lora_rank=4, lora_alpha=8))
    options = {"weight_decay": 0.1, "warmup_steps": 0, "critic": "own"}
    decays = decay_alone(make_trainer(model, "grpo", Valued, **options))
    assert decays
    assert {name for name, moved in decays.items() if not moved} == {
        name for name in decays if "bias" in name or "norm" in name
    }
    assert any("lora_" in name for name in decays) == adapted
