import copy
from dataclasses import replace

import pytest
import torch

from anypo import Plugin, hookimpl
from anypo import functional as F
from anypo.errors import PluginError
from anypo.training.evaluation import Evaluated
from anypo.training.trainer import Report


def metrics_of(trainer):
    return [
        {k: v for k, v in report.metrics.items() if not k.startswith(("seconds", "tokens"))}
        for report in trainer.train()
    ]


def test_the_ratio_is_one_on_the_first_update_and_moves_after_it(model, make_trainer):
    assert make_trainer(model).step(1).metrics["ratio/mean"] == 1
    moved = make_trainer(model, epochs=2, warmup_steps=0).step(1).metrics["ratio/mean"]
    assert moved != pytest.approx(1, abs=1e-6)


def test_the_same_seed_gives_the_same_metrics_however_often_it_evaluates(model, make_trainer):
    runs = []
    for eval_every in (1, 100):
        copied = copy.deepcopy(model)
        options = {"held_out": True, "eval_every": eval_every, "minibatches": 2, "steps": 3}
        runs.append(metrics_of(make_trainer(copied, **options)))
    for often, seldom in zip(*runs, strict=True):
        assert {k: often[k] for k in seldom} == seldom
    assert "eval/score" in runs[1][0]
    assert "eval/score" in runs[1][-1]
    assert "eval/score" not in runs[1][1]


def test_minibatches_cover_every_row_once_per_epoch(model, make_trainer, samples):
    trainer = make_trainer(model, epochs=2, minibatches=3)
    batch = trainer.learner.prepare(samples, {})
    parts = [part.tolist() for part in trainer._minibatches(batch, step=1)]
    assert len(parts) == 6
    for epoch in (parts[:3], parts[3:]):
        assert sorted(row for part in epoch for row in part) == list(range(12))


class DropsAll(Plugin):
    """A filter that is too strict for real samples."""

    @hookimpl(wrapper=True)
    def rollout(self, prompts):
        """Nothing of real prompts."""
        samples = yield
        return samples if prompts[0].content == "made up" else []


def test_a_step_that_keeps_nothing_changes_nothing_and_says_so(model, make_trainer, weights):
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


def test_dropped_prompts_are_replaced_until_the_step_is_full(model, make_trainer, samples):
    report = make_trainer(model, "grpo", DropsEverySecond).step(1)
    assert report.missing == 0
    assert report.metrics["rollout/rounds"] == 3
    assert len(report.prompts) == 3 + 2 + 1
    assert {sample.group for sample in report.samples} == {0, 3, 5}
    for sample in report.samples:
        assert sample.prompt_ids == report.prompts[sample.group].ids


class DropsForGood(Plugin):
    """Keeps the first prompt of a round, and drops those at the given positions for good."""

    positions: tuple[int, ...] = (1, 2)

    @hookimpl(wrapper=True)
    def rollout(self, prompts, state):
        """Group 0."""
        samples, positions = (yield), self.positions
        if prompts[0].content != "made up":
            state.setdefault("dropped", []).extend(positions)
        return [sample for sample in samples if sample.group == 0]


def test_no_prompts_are_drawn_for_those_that_are_dropped_for_good(model, make_trainer):
    trainer = make_trainer(model, "grpo", DropsForGood)
    report = trainer.step(1)
    assert (report.missing, len(report.prompts), len(report.samples)) == (0, 3, 4)
    assert report.metrics["rollout/rounds"] == 1
    assert report.metrics["rollout/kept"] == pytest.approx(1 / 3)
    assert report.metrics["reward/mean"] == pytest.approx(2.5)
    assert trainer.state == {}


def test_a_rollout_may_drop_some_for_good_and_some_for_now(model, make_trainer):
    knobs = {"positions": [0, 2]}  # 0 is kept, too, and counts once
    report = make_trainer(model, "grpo", DropsForGood, max_rounds=1, knobs=knobs).step(1)
    assert report.missing == 1


def test_a_step_may_drop_all_for_good_and_lacks_nothing(model, make_trainer, weights):
    class Measures(Plugin):
        @hookimpl(wrapper=True)
        def rollout(self, prompts, state):
            samples = yield
            state["dropped"] = list(range(len(prompts)))
            return samples if prompts[0].content == "made up" else []

    trainer = make_trainer(model, "grpo", Measures)
    before = weights(model)
    report = trainer.step(1)
    assert (report.samples, report.missing) == ([], 0)
    assert report.metrics["rollout/rounds"] == 1
    assert "reward/kept" not in report.metrics
    assert torch.equal(weights(model), before)


@pytest.mark.parametrize("position", [3, -1])
def test_what_is_no_position_of_a_prompt_is_refused(model, make_trainer, position):
    trainer = make_trainer(model, "grpo", DropsForGood, knobs={"positions": [1, position]})
    says = rf"'rollout' of .*'drops_for_good'.* leaves .*1, {position}.* .* 0 to 2 here"
    with pytest.raises(PluginError, match=says):
        trainer.step(1)


class KeepsShort(Plugin):
    """Drops completions of more than two tokens."""

    @hookimpl(wrapper=True)
    def rollout(self):
        """The short ones."""
        samples = yield
        return [sample for sample in samples if len(sample.completion_ids) <= 2]


def test_rewards_and_lengths_are_those_of_all_that_was_scored(model, make_trainer):
    report = make_trainer(model, "grpo", KeepsShort).step(1)
    assert len(report.samples) == 6
    assert report.metrics["reward/mean"] == 2.5
    assert report.metrics["length/mean"] == 2.5
    assert report.metrics["reward/kept"] == 1.5


def test_a_step_that_keeps_nothing_says_what_was_scored(model, make_trainer):
    class DropsAll(Plugin):
        @hookimpl(wrapper=True)
        def rollout(self, prompts):
            samples = yield
            return samples if len(prompts) == 2 else []

    report = make_trainer(model, "grpo", DropsAll).step(1)
    assert report.samples == []
    assert report.metrics["reward/mean"] == pytest.approx(2.5)
    groups = [sample.group for _, sample in report.completions]
    assert groups == [group for group in range(len(report.prompts)) for _ in range(4)]
    for prompt, sample in report.completions:
        assert prompt is report.prompts[sample.group]


def test_the_learning_rate_is_that_of_the_updates_of_the_step(model, make_trainer):
    options = {"steps": 3, "warmup_steps": 1, "minibatches": 2, "learning_rate": 1e-3}
    rates = [report.metrics["learning_rate"] for report in make_trainer(model, **options).train()]
    assert rates == pytest.approx([0, 1e-3, 5e-4])


def test_rewards_that_a_rollout_gives_by_itself_are_logged(model, make_trainer, scripted):
    class Own(Plugin):
        extends = ("grpo",)

        @hookimpl
        def rollout(self, prompts, sampler):
            return [replace(s, reward=3.0, scores={"own": 3.0}) for s in sampler.sample(prompts, 2)]

    assert make_trainer(model, Own).step(1).metrics["reward/own"] == 3


def test_an_uneven_number_of_rows_still_makes_every_update(model, make_trainer, samples):
    trainer = make_trainer(model, minibatches=5)
    batch = trainer.learner.prepare(samples, {})
    assert len(list(trainer._minibatches(batch.rows(torch.arange(9)), step=1))) == 5


def test_what_is_measured_is_logged_as_an_evaluation(model, make_trainer):
    trainer = make_trainer(model, eval_every=1)
    found = [Evaluated({"score": 1.0}), Evaluated({"loss": 2.0, "a/b": 3.0}, "hard")]
    trainer.evaluations = [lambda: found[0], lambda: found[1]]
    reports = list(trainer.train())
    assert reports[0].metrics == {"eval/score": 1.0, "eval/hard/loss": 2.0, "eval/hard/a/b": 3.0}
    assert reports[0].evaluated == found
    assert reports[1].metrics.items() >= reports[0].metrics.items()


def test_without_an_evaluation_there_is_no_report_before_the_first_step(model, make_trainer):
    reports = list(make_trainer(model).train())
    assert [report.step for report in reports] == [1, 2]
    assert not [name for report in reports for name in report.metrics if name.startswith("eval/")]


def test_an_evaluation_draws_from_a_stream_of_its_own(model, make_trainer):
    trainer = make_trainer(model)
    drawn = []
    nothing = Evaluated({})
    trainer.evaluations = [lambda: drawn.append(torch.rand(1).item()) or nothing] * 2
    for step in (1, 1, 2):
        trainer._evaluate(Report(step))
        torch.rand(5)
    assert len(set(drawn)) == 2
    assert len(set(drawn[:4])) == 1


def test_the_mismatch_of_the_sampler_is_that_of_the_policy_at_the_rollout(model, make_trainer):
    once = make_trainer(copy.deepcopy(model)).step(1).metrics
    often = make_trainer(copy.deepcopy(model), epochs=3, warmup_steps=0).step(1).metrics
    for name in ("mismatch/mean", "mismatch/max", "mismatch/ratio"):
        assert often[name] == pytest.approx(once[name], rel=1e-4)
    assert 0 < once["mismatch/mean"] < once["mismatch/max"]


def test_a_sampler_without_log_probs_has_no_mismatch(model, make_trainer, scripted):
    plain = scripted.sample
    scripted.sample = lambda prompts, n: [replace(s, logprobs=None) for s in plain(prompts, n)]
    metrics = make_trainer(model).step(1).metrics
    assert not [name for name in metrics if name.startswith("mismatch")]


# -- minibatches ---------------------------------------------------------------------------------


class EveryThird(Plugin):
    """Most rows have no weight, and stand in the batch for the sake of the others."""

    @hookimpl
    def weight(self, batch):
        counts = batch.input_ids[:, 0] == 51
        return F.per_completion_mean(batch.mask & counts.unsqueeze(-1))


def minibatches(trainer, samples):
    batch = trainer.learner.prepare(samples, {})
    parts = list(trainer._minibatches(batch, step=1))
    return batch, [part.tolist() for part in parts]


def test_every_minibatch_has_its_share_of_the_rows_that_count(model, make_trainer, samples):
    samples = [replace(s, prompt_ids=[50 + (i % 3)]) for i, s in enumerate(samples)]
    trainer = make_trainer(model, "grpo", EveryThird, minibatches=4, epochs=5)
    batch, parts = minibatches(trainer, samples)
    counts = (batch.input_ids[:, 0] == 51).tolist()
    assert [sum(counts[row] for row in part) for part in parts] == [1] * 20
    assert [len(part) for part in parts] == [3] * 20
    for epoch in range(5):
        assert sorted(row for part in parts[4 * epoch :][:4] for row in part) == list(range(12))


def test_there_are_no_more_minibatches_than_rows_that_count(model, make_trainer, samples):
    samples = [replace(s, prompt_ids=[51 if i < 2 else 50]) for i, s in enumerate(samples)]
    trainer = make_trainer(model, "grpo", EveryThird, minibatches=4)
    assert [len(part) for part in minibatches(trainer, samples)[1]] == [6, 6]
