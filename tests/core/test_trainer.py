from dataclasses import replace

import pytest
import torch
from accelerate import Accelerator

from anypo import Plugin, Prompt, Sample, compose, hookimpl
from anypo import functional as F
from anypo.config import RunConfig
from anypo.data import PromptStream
from anypo.errors import TrainingError
from anypo.trainer import Trainer

PROMPTS = [Prompt(list(range(50, 50 + n)), f"prompt {n}") for n in (4, 1, 3)]


class ScriptedSampler:
    """The same completions every time, of unequal lengths."""

    max_completion_length = 8

    def sample(self, prompts, n):
        return [
            Sample(prompt.ids, [97 + i + group] * (1 + i), group, logprobs=[-5.0] * (1 + i))
            for group, prompt in enumerate(prompts)
            for i in range(n)
        ]

    def sync(self, model):
        self.synced = getattr(self, "synced", 0) + 1

    def close(self):
        pass


def longer_is_better(prompts, samples):
    return [
        replace(s, reward=float(len(s.completion_ids)), scores={"length": 1.0}) for s in samples
    ]


def make_trainer(model, *plugins, scorer=longer_is_better, held_out=(), knobs=None, **options):
    config = RunConfig(**{"steps": 2, "prompts_per_step": 3, "learning_rate": 1e-3, **options})
    return Trainer(
        compose(*(plugins or ("grpo",)), knobs={"group_size": 4, **(knobs or {})}),
        model,
        ScriptedSampler(),
        scorer,
        PromptStream(PROMPTS, 0),
        held_out,
        config,
        Accelerator(cpu=True),
    )


def weights(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


def metrics_of(trainer):
    return [
        {k: v for k, v in report.metrics.items() if not k.startswith(("seconds", "tokens"))}
        for report in trainer.train()
    ]


def test_micro_batches_change_nothing(model):
    import copy

    models = [copy.deepcopy(model) for _ in range(2)]
    one, many = (make_trainer(m, token_budget=b) for m, b in zip(models, (10_000, 9), strict=True))
    first, second = metrics_of(one), metrics_of(many)
    torch.testing.assert_close(weights(models[0]), weights(models[1]), rtol=1e-4, atol=1e-5)
    for a, b in zip(first, second, strict=True):
        assert a == pytest.approx(b, rel=1e-3, abs=1e-5)


def forward_passes(monkeypatch, trainer):
    import anypo.learner as module

    calls = []
    plain = module.score_tokens

    def counting(scored, batch, **options):
        calls.append((scored is trainer.model, torch.is_grad_enabled()))
        return plain(scored, batch, **options)

    monkeypatch.setattr(module, "score_tokens", counting)
    trainer.step(1)
    return calls


def test_one_update_per_rollout_makes_no_extra_forward_pass(model, monkeypatch):
    calls = forward_passes(monkeypatch, make_trainer(model))
    assert sorted(calls) == [(False, False), (True, True)]


def test_several_updates_store_the_old_log_probs_once(model, monkeypatch):
    calls = forward_passes(monkeypatch, make_trainer(model, epochs=2, minibatches=2))
    assert calls.count((True, False)) == 1
    assert calls.count((True, True)) == 4


def test_the_ratio_is_one_on_the_first_update_and_moves_after_it(model):
    assert make_trainer(model).step(1).metrics["ratio/mean"] == 1
    moved = make_trainer(model, epochs=2, warmup_steps=0).step(1).metrics["ratio/mean"]
    assert moved != pytest.approx(1, abs=1e-6)


def test_the_schedule_ends_at_zero_with_the_last_update(model):
    trainer = make_trainer(model, epochs=3, minibatches=2, warmup_steps=0)
    list(trainer.train())
    assert trainer.learner.schedule.get_last_lr() == [0.0]
    assert trainer.sampler.synced == 2


def test_the_same_seed_gives_the_same_metrics_however_often_it_evaluates(model):
    import copy

    runs = []
    for eval_every in (1, 100):
        copied = copy.deepcopy(model)
        options = {"held_out": PROMPTS, "eval_every": eval_every, "minibatches": 2, "steps": 3}
        runs.append(metrics_of(make_trainer(copied, **options)))
    for often, seldom in zip(*runs, strict=True):
        assert {k: often[k] for k in seldom} == seldom
    assert "eval/score" in runs[1][0]
    assert "eval/score" in runs[1][-1]
    assert "eval/score" not in runs[1][1]


def test_minibatches_cover_every_row_once_per_epoch(model):
    trainer = make_trainer(model, epochs=2, minibatches=3)
    batch = trainer._prepare(longer_is_better(PROMPTS, ScriptedSampler().sample(PROMPTS, 4)))
    parts = [part.tolist() for part in trainer._minibatches(batch, step=1)]
    assert len(parts) == 6
    for epoch in (parts[:3], parts[3:]):
        assert sorted(row for part in epoch for row in part) == list(range(12))


class Pairs(Plugin):
    """Rows of a group must not be separated."""

    couples = "group"

    @hookimpl
    def weight(self, batch):
        """Alike."""
        return F.token_mean(batch.mask)


def test_coupled_rows_share_every_minibatch_and_micro_batch(model):
    trainer = make_trainer(model, "grpo", Pairs, token_budget=9, minibatches=2)
    batch = trainer._prepare(longer_is_better(PROMPTS, ScriptedSampler().sample(PROMPTS, 4)))
    parts = [*trainer._minibatches(batch, step=1), *trainer.learner._micro_batches(batch)]
    for part in parts:
        groups = batch.group[part].tolist()
        assert all(groups.count(group) == 4 for group in groups)


class Exploding(Plugin):
    """A gain that overflows once the real batch comes."""

    @hookimpl
    def clip(self, log_ratio, advantages, batch):
        """r A, times infinity for batches of more than 10 rows."""
        return log_ratio.exp() * advantages * (torch.inf if len(batch) == 12 else 1.0)


def test_a_gradient_that_is_not_finite_stops_before_the_weights_change(model):
    trainer = make_trainer(model, "grpo", Exploding)
    before = weights(model)
    with pytest.raises(TrainingError, match="gradient is not finite"):
        trainer.step(1)
    assert torch.equal(weights(model), before)


class DropsAll(Plugin):
    """A filter that is too strict for real samples."""

    @hookimpl(wrapper=True)
    def rollout(self, prompts):
        """Nothing of real prompts."""
        samples = yield
        return samples if prompts[0].content == "made up" else []


def test_a_step_that_keeps_nothing_changes_nothing_and_says_so(model):
    trainer = make_trainer(model, "grpo", DropsAll, max_rounds=3)
    before = weights(model)
    report = trainer.step(1)
    assert report.missing == 3
    assert report.metrics["rollout/rounds"] == 3
    assert report.metrics["rollout/kept"] == 0
    assert torch.equal(weights(model), before)


class DropsEverySecond(Plugin):
    """A filter that keeps the first prompt of a round only."""

    @hookimpl(wrapper=True)
    def rollout(self, prompts):
        """Group 0."""
        samples = yield
        return [sample for sample in samples if sample.group == 0]


def test_dropped_prompts_are_replaced_until_the_step_is_full(model):
    report = make_trainer(model, "grpo", DropsEverySecond).step(1)
    assert report.missing == 0
    assert report.metrics["rollout/rounds"] == 3
    assert len(report.prompts) == 3 + 2 + 1
    assert {sample.group for sample in report.samples} == {0, 3, 5}
    for sample in report.samples:
        assert sample.prompt_ids == report.prompts[sample.group].ids


# -- reference and critic ------------------------------------------------------------------------


def reference_weights(trainer):
    return weights(trainer.learner.reference)


@pytest.mark.parametrize(("alpha", "share"), [(1.0, 1.0), (0.25, 0.25)])
def test_the_reference_moves_towards_the_policy(model, alpha, share):
    options = {"ref_sync_every": 2, "ref_sync_alpha": alpha, "warmup_steps": 0, "steps": 4}
    trainer = make_trainer(model, **options)
    start = reference_weights(trainer)
    trainer.step(1)
    assert torch.equal(reference_weights(trainer), start)
    trainer.step(2)
    expected = start + share * (weights(model) - start)
    torch.testing.assert_close(reference_weights(trainer), expected)
    assert "reference" in trainer.checkpoint()


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


@pytest.mark.parametrize("critic", ["own", "shared"])
def test_a_critic_learns_the_return(model, critic):
    options = {"critic": critic, "critic_learning_rate": 1e-2, "steps": 30, "warmup_steps": 0}
    trainer = make_trainer(model, "grpo", Valued, **options)
    losses = [report.metrics["loss/value"] for report in trainer.train()]
    assert losses[0] == pytest.approx((1 + 4 + 9 + 16) / 4, rel=0.05)
    assert losses[-1] < losses[0] / 4
    assert "critic" in trainer.checkpoint()


@pytest.mark.parametrize("critic", ["own", "shared"])
def test_a_warm_up_trains_the_critic_alone(model, critic):
    trainer = make_trainer(
        model, "grpo", Valued, critic=critic, critic_warmup_steps=1, warmup_steps=0
    )
    before, head = weights(model), trainer.learner.critic.head.weight.clone()
    trainer.step(1)
    assert torch.equal(weights(model), before)
    assert not torch.equal(trainer.learner.critic.head.weight, head)
    trainer.step(2)
    assert not torch.equal(weights(model), before)


def test_a_critic_of_its_own_leaves_the_policy_alone(model):
    trainer = make_trainer(model, "grpo", Valued, learning_rate=1e-12, weight_decay=0.0)
    before = weights(model)
    list(trainer.train())
    torch.testing.assert_close(weights(model), before, rtol=0, atol=1e-9)


def test_a_step_without_a_gradient_moves_nothing(model):
    trainer = make_trainer(model, knobs={"kl_coef": 0}, warmup_steps=0, steps=3)
    trainer.step(1)
    before = weights(model)
    trainer.scorer = lambda _, samples: [replace(s, reward=1.0) for s in samples]
    assert trainer.step(2).metrics["grad_norm"] == 0
    assert torch.equal(weights(model), before)


def test_a_constant_schedule_warms_up_too(model):
    trainer = make_trainer(model, schedule="constant", warmup_steps=2)
    rates = []
    for step in range(1, 4):
        trainer.step(step)
        rates.append(trainer.learner.schedule.get_last_lr()[0])
    assert rates == pytest.approx([5e-4, 1e-3, 1e-3])


def test_an_uneven_number_of_rows_still_makes_every_update(model):
    trainer = make_trainer(model, minibatches=5)
    batch = trainer._prepare(longer_is_better(PROMPTS, ScriptedSampler().sample(PROMPTS, 4)))
    assert len(list(trainer._minibatches(batch.rows(torch.arange(9)), step=1))) == 5
