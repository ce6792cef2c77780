"""The training loop: roll out, annotate, update, sync.

Read `Trainer.step`: it is the flow of a step. Everything algorithmic is behind `Algorithm`.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from anypo.composition.kept import dropped
from anypo.data.mixture import Stream
from anypo.hooks.batch import Batch, Prompt, Sample
from anypo.hooks.rollout import Scorer
from anypo.hooks.specs import MOVED, NOTES, STEP, STEPS, State
from anypo.sampling.sampler import PolicySampler
from anypo.training.evaluation import Evaluated
from anypo.training.learner import Learner
from anypo.training.metrics import Meter, kept_metrics, sample_metrics, timed
from anypo.training.options import TrainerOptions
from anypo.training.shares import by_weight

Evaluation = Callable[[], Evaluated]


@dataclass
class Report:
    """What one step did."""

    step: int
    metrics: dict[str, float] = field(default_factory=dict)
    prompts: Sequence[Prompt] = ()
    samples: Sequence[Sample] = ()
    completions: Sequence[tuple[Prompt, Sample]] = ()  # also those that the algorithm dropped
    missing: int = 0  # prompts that the step lacks, as too many were dropped, not for good
    notes: Sequence[str] = ()  # what plugins want said
    extremes: Sequence[dict[str, Any]] = ()  # best and worst completion, as in samples.jsonl
    evaluated: Sequence[Evaluated] = ()  # what held-out sets gave after the step


@dataclass
class Trainer:
    """Trains what a learner holds; evaluates before, after, and now and then in between."""

    learner: Learner
    sampler: PolicySampler
    scorer: Scorer
    prompts: Stream
    evaluations: Sequence[Evaluation]
    config: TrainerOptions
    state: State = field(default_factory=dict)  # what the plugins remember
    done: int = 0  # steps

    def train(self) -> Iterator[Report]:
        """Train, one report per step; report 0 is the evaluation before, if there is one."""
        if self.evaluations and not self.done:
            yield self._evaluate(Report(0))
        steps = self.config.steps or 1
        for step in range(self.done + 1, steps + 1):
            report = self.step(step)
            notes = self.state.pop(NOTES, ())
            report.notes = [notes] if isinstance(notes, str) else notes
            if step % self.config.eval_every == 0 or step == steps:
                self._evaluate(report)
            self.done = step
            yield report

    def step(self, step: int) -> Report:
        """One rollout and the updates made with it."""
        seconds: dict[str, float] = {}
        meter = Meter()
        steps = self.config.steps or 1
        self.state |= {STEP: step, STEPS: steps}
        algorithm = self.learner.algorithm.at((step - 1) / max(1, steps - 1))
        self.learner.algorithm = algorithm
        with timed(seconds, "rollout"):
            report = self._roll_out(step)
        report.metrics |= {f"knob/{name}": x for name, x in algorithm.scheduled.items()}
        if not report.samples:  # all were dropped: there is nothing to learn from
            return report
        with timed(seconds, "annotate"):
            batch = self.learner.prepare(report.samples, self.state)
        report.metrics["learning_rate"] = self.learner.learning_rate
        with timed(seconds, "update"):
            only_critic = step <= self.config.critic_warmup_steps
            for index in self._minibatches(batch, step):
                rows = batch.rows(index)
                self.learner.update(rows, meter, self.state, only_critic=only_critic)
        with timed(seconds, "sync"):
            if self.learner.algorithm.inputs.sampler or self.evaluations:
                self.sampler.sync(self.learner.whole())
            if self.learner.compared.follow(step):
                self.state[MOVED] = step
        report.metrics |= meter.means(self.learner.world) | seconds
        report.metrics["tokens_per_second"] = int(batch.lengths.sum()) / sum(seconds.values())
        return report

    def _roll_out(self, step: int) -> Report:
        """Samples of as many prompts as a step has, if need be drawn in several rounds.

        A round draws only as many prompts as are missing: none is sampled for nothing, or kept
        until the policy has moved on. None is drawn for those that the rollout drops for good.
        """
        self.learner.distributed.seed(self._derived_seed(step, purpose=0))
        prompts: list[Prompt] = []
        samples: list[Sample] = []
        scored: list[tuple[Prompt, Sample]] = []  # also what the algorithm then drops
        asked: list[Prompt] = []

        def scorer(prompts: Sequence[Prompt], samples: Sequence[Sample]) -> list[Sample]:
            found = self.scorer(prompts, samples)
            scored.extend((prompts[s.group], replace(s, group=s.group + len(asked))) for s in found)
            asked.extend(prompts)
            return found

        algorithm = self.learner.algorithm
        missing, rounds = self.config.prompts_per_step, 0
        while missing > 0 and rounds < self.config.max_rounds:
            drawn = self.prompts.draw(missing)
            kept = algorithm.rollout(drawn, self.sampler, scorer, self.state, self.prompts.prompts)
            samples += [replace(s, group=s.group + len(prompts)) for s in kept]
            groups = {sample.group for sample in kept}
            missing -= len(groups | dropped(algorithm, self.state, len(drawn)))
            prompts += drawn
            rounds += 1
        kept_share = len({sample.group for sample in samples}) / len(prompts)
        metrics = {"rollout/rounds": float(rounds), "rollout/kept": kept_share}
        completions = scored or [(prompts[s.group], s) for s in samples]
        metrics |= sample_metrics([sample for _, sample in completions])
        metrics |= kept_metrics(samples)
        return Report(step, metrics, prompts, samples, completions, missing)

    def _minibatches(self, batch: Batch, step: int) -> Iterator[Tensor]:
        """Row indices of every optimizer step, shuffled anew in each epoch.

        Rows with and without a weight are dealt apart, so that every step has its share of both.
        """
        state = self.state
        if "state" in self.learner.algorithm.asks("weight"):
            state = copy.deepcopy(state)  # weights that are only looked at change nothing
        weighed = self.learner.weigh(batch, state)
        counting, others = by_weight(self.learner.algorithm, weighed)
        steps = max(1, min(self.config.minibatches, len(counting)))
        random = torch.Generator().manual_seed(self._derived_seed(step, purpose=1))
        for _ in range(self.config.epochs):
            hands = [_dealt(units, steps, random) for units in (counting, others)]
            for first, second in zip(*hands, strict=True):
                yield torch.tensor(sorted(first + second), device=batch.mask.device)

    def _evaluate(self, report: Report) -> Report:
        """Add to a report what the held-out sets give: of the policy, and of its average."""
        found = self._evaluated(report.step)
        if self.learner.average and self.evaluations:
            with self.learner.averaged() as whole:
                self.sampler.sync(whole)
                found += [one.of_average() for one in self._evaluated(report.step)]
            self.sampler.sync(self.learner.whole())
        report.evaluated = found
        for evaluated in found:
            report.metrics |= evaluated.named_metrics()
        return report

    def _evaluated(self, step: int) -> list[Evaluated]:
        found = []
        for evaluate in self.evaluations:
            self.learner.distributed.seed(self._derived_seed(step, purpose=2))
            found.append(evaluate())
        return found

    def _derived_seed(self, step: int, purpose: int) -> int:
        # Every phase draws from a stream of its own: evaluating more often changes no training.
        return (self.config.seed * 1_000_003 + step) * 3 + purpose


def _dealt(units: list[list[int]], hands: int, random: torch.Generator) -> list[list[int]]:
    """The rows of shuffled units in as many parts."""
    parts = torch.randperm(len(units), generator=random).tensor_split(hands)
    return [[row for unit in part.tolist() for row in units[unit]] for part in parts]
