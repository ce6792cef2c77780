"""The training loop: roll out, score, update, sync.

Read `Trainer.step`: it is the flow of a step. Everything algorithmic is behind `Algorithm`.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from accelerate import Accelerator
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel, get_scheduler

from anypo.algorithm import Algorithm, Loss
from anypo.batch import Batch, Prompt, Sample, collate
from anypo.config import RunConfig
from anypo.data import PromptStream
from anypo.errors import TrainingError
from anypo.forward import TokenScores, micro_batches, score_tokens
from anypo.hookspecs import State
from anypo.models import frozen_copy
from anypo.rollout import Sampler, Scorer


class SyncedSampler(Sampler, Protocol):
    """A sampler that follows the policy."""

    def sync(self, model: PreTrainedModel) -> None:
        """Use the current weights of `model`."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


@dataclass
class Report:
    """What one step did."""

    step: int
    metrics: dict[str, float] = field(default_factory=dict)
    prompts: Sequence[Prompt] = ()
    samples: Sequence[Sample] = ()


class Trainer:
    """Trains a model by an algorithm.

    Args:
        algorithm: What to optimise.
        model: The policy.
        sampler: Draws completions from the policy.
        scorer: Rewards them.
        prompts: To train on.
        held_out: To evaluate on; may be empty.
        config: Resolved, with `steps`.
        accelerator: Owns the device and the precision.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        model: PreTrainedModel,
        sampler: SyncedSampler,
        scorer: Scorer,
        prompts: PromptStream,
        held_out: Sequence[Prompt],
        config: RunConfig,
        accelerator: Accelerator,
    ) -> None:
        self.algorithm, self.config, self.accelerator = algorithm, config, accelerator
        self.sampler, self.scorer = sampler, scorer
        self.prompts, self.held_out = prompts, held_out
        self.state: State = {}
        self.steps = config.steps or 1
        self.updates_per_rollout = config.epochs * config.minibatches
        self.reference = frozen_copy(model) if "reference" in algorithm.requires else None
        optimizer = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.model, self.optimizer = accelerator.prepare(model, optimizer)
        # Not prepared: a prepared schedule would step once per process.
        self.schedule = get_scheduler(
            config.schedule,
            optimizer,
            num_warmup_steps=config.warmup_steps * self.updates_per_rollout,
            num_training_steps=self.steps * self.updates_per_rollout,
        )

    def train(self) -> Iterator[Report]:
        """Train, one report per step; report 0 is the evaluation before, if there is one."""
        if self.held_out:
            yield Report(0, self._evaluate(0))
        for step in range(1, self.steps + 1):
            report = self.step(step)
            if step % self.config.eval_every == 0 or step == self.steps:
                report.metrics |= self._evaluate(step)
            yield report

    def step(self, step: int) -> Report:
        """One rollout and the updates made with it."""
        clock, meter = _Clock(), _Meter()
        with clock.phase("rollout"):
            self._seed(step, purpose=0)
            prompts = self.prompts.draw(self.config.prompts_per_step)
            samples = self.algorithm.rollout(prompts, self.sampler, self.scorer, self.state)
        with clock.phase("prepare"):
            batch = self._prepare(samples)
        with clock.phase("update"):
            for index in self._minibatches(batch, step):
                self._update(batch.rows(index), meter)
        with clock.phase("sync"):
            self.sampler.sync(self.model)
        metrics = meter.means() | _sample_metrics(samples) | clock.metrics()
        metrics["tokens_per_second"] = int(batch.lengths.sum()) / clock.total()
        return Report(step, metrics, prompts, samples)

    def _prepare(self, samples: list[Sample]) -> Batch:
        """The batch of a whole rollout, with all that the frozen models and the plugins say."""
        if not samples:
            raise TrainingError("the rollout kept no sample at all, so there is nothing to learn")
        batch = collate(samples, max_completion_length=self.config.max_completion_length)
        batch = batch.to(self.accelerator.device)
        if self.reference is not None:
            batch = batch.replace(ref_logprobs=self._frozen_logprobs(self.reference, batch))
        if "old_logprobs" in self.algorithm.requires and self._stores_old_logprobs():
            batch = batch.replace(old_logprobs=self._frozen_logprobs(self.model, batch))
        return self.algorithm.advantage(batch, self.state)

    def _stores_old_logprobs(self) -> bool:
        """Whether the policy's own log-probs at rollout time need a forward pass of their own."""
        early = "old_logprobs" in self.algorithm.prepare_requires
        return early or self.updates_per_rollout > 1

    def _update(self, minibatch: Batch, meter: _Meter) -> None:
        """One optimizer step: the losses of the micro-batches add up to that of the minibatch."""
        minibatch = self.algorithm.weigh(minibatch)
        for index in self._micro_batches(minibatch):
            loss = self._loss(minibatch.rows(index.to(self.accelerator.device)))
            self.accelerator.backward(loss.total)
            meter.add(loss)
        norm = self.accelerator.clip_grad_norm_(self.model.parameters(), self.config.max_grad_norm)
        if not torch.isfinite(norm):
            raise TrainingError(
                f"the gradient is not finite: loss terms {meter.latest()}; lower learning_rate or "
                "look at the rewards"
            )
        meter.updates += 1
        meter.norm += float(norm)
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()

    def _loss(self, batch: Batch) -> Loss:
        with_gradient = "entropy" in self.algorithm.requires
        scores = self._score(self.model, batch, with_entropy_gradient=with_gradient)
        if "old_logprobs" in self.algorithm.requires and "old_logprobs" not in batch:
            # The policy has not moved since the rollout, so its old log-probs are these.
            batch = batch.replace(old_logprobs=scores.logprobs.detach())
        return self.algorithm.loss(scores.logprobs, batch, entropy=scores.entropy)

    def _score(
        self, model: PreTrainedModel, batch: Batch, *, with_entropy_gradient: bool = False
    ) -> TokenScores:
        with self.accelerator.autocast():
            return score_tokens(
                model,
                batch,
                temperature=self.config.temperature,
                with_entropy_gradient=with_entropy_gradient,
            )

    @torch.no_grad()
    def _frozen_logprobs(self, model: PreTrainedModel, batch: Batch) -> Float[Tensor, "N T"]:
        logprobs = torch.zeros(batch.mask.shape, device=self.accelerator.device)
        for index in self._micro_batches(batch):
            rows = index.to(self.accelerator.device)
            logprobs[rows] = self._score(model, batch.rows(rows)).logprobs
        return logprobs

    def _units(self, batch: Batch) -> list[list[int]]:
        """Rows that no split may separate."""
        if not self.algorithm.couples_groups:
            return [[row] for row in range(len(batch))]
        groups: dict[int, list[int]] = defaultdict(list)
        for row, group in enumerate(batch.group.tolist()):
            groups[group].append(row)
        return list(groups.values())

    def _micro_batches(self, batch: Batch) -> Iterator[Tensor]:
        lengths = batch.sequence_lengths
        return micro_batches(lengths, self.config.token_budget, self._units(batch))

    def _minibatches(self, batch: Batch, step: int) -> Iterator[Tensor]:
        """Row indices of every optimizer step, shuffled anew in each epoch."""
        units = self._units(batch)
        random = torch.Generator().manual_seed(self._derived_seed(step, purpose=1))
        for _ in range(self.config.epochs):
            order = torch.randperm(len(units), generator=random)
            for part in order.chunk(self.config.minibatches):
                rows = sorted(row for unit in part.tolist() for row in units[unit])
                yield torch.tensor(rows, device=self.accelerator.device)

    def _evaluate(self, step: int) -> dict[str, float]:
        """The mean reward of one completion to every held-out prompt."""
        if not self.held_out:
            return {}
        self._seed(step, purpose=2)
        samples = self.scorer(self.held_out, self.sampler.sample(self.held_out, 1))
        return {"eval/score": sum(s.reward or 0.0 for s in samples) / len(samples)}

    def _seed(self, step: int, purpose: int) -> None:
        # Every phase draws from a stream of its own: evaluating more often changes no training.
        torch.manual_seed(self._derived_seed(step, purpose))

    def _derived_seed(self, step: int, purpose: int) -> int:
        return (self.config.seed * 1_000_003 + step) * 3 + purpose


class _Meter:
    """Adds up losses and metrics over the micro-batches of a step."""

    def __init__(self) -> None:
        self.terms: dict[str, float] = defaultdict(float)
        self.sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self.updates = 0
        self.norm = 0.0

    def add(self, loss: Loss) -> None:
        for name, term in {"loss": loss.total, **loss.terms}.items():
            self.terms[name] += float(term.detach())
        for name, (total, count) in loss.metrics.items():
            self.sums[name][0] += float(total)
            self.sums[name][1] += float(count)

    def latest(self) -> dict[str, float]:
        return {name: round(term, 4) for name, term in self.terms.items()}

    def means(self) -> dict[str, float]:
        updates = max(self.updates, 1)
        return {
            "grad_norm": self.norm / updates,
            **{_key(name): term / updates for name, term in self.terms.items()},
            **{name: total / max(count, 1.0) for name, (total, count) in self.sums.items()},
        }


def _key(term: str) -> str:
    return term if term == "loss" else f"loss/{term}"


def _sample_metrics(samples: Sequence[Sample]) -> dict[str, float]:
    def mean(values: Sequence[float]) -> float:
        known = [value for value in values if value == value]  # a NaN: the reward does not apply
        return sum(known) / max(len(known), 1)

    return {
        "reward/mean": mean([sample.reward or 0.0 for sample in samples]),
        **{f"reward/{n}": mean([s.scores[n] for s in samples]) for n in samples[0].scores},
        "length/mean": mean([len(sample.completion_ids) for sample in samples]),
        "length/truncated": mean([float(sample.truncated) for sample in samples]),
    }


class _Clock:
    """Seconds per phase of a step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start

    def total(self) -> float:
        return sum(self.seconds.values())

    def metrics(self) -> dict[str, float]:
        return {f"seconds/{name}": seconds for name, seconds in self.seconds.items()}
