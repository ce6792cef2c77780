"""What is trained, what it is compared with, and how an optimizer step is made."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from anypo.composition.algorithm import Algorithm, Loss
from anypo.errors import TrainingError
from anypo.hooks.batch import Batch, Sample, collate
from anypo.hooks.specs import State
from anypo.models.adapters import has_lora, without_lora
from anypo.models.critic import Critic
from anypo.models.forward import TokenScores, score_tokens
from anypo.models.load import frozen_copy
from anypo.models.micro_batches import micro_batches
from anypo.models.router import recorded_balance, router_coefficient
from anypo.training.distributed import Distributed
from anypo.training.metrics import Meter
from anypo.training.optimizer import make_optimizer, make_schedule
from anypo.training.options import LearnerOptions


class Learner:
    """The policy, and the reference and critic that the algorithm requires, and their optimizer."""

    def __init__(
        self,
        algorithm: Algorithm,
        model: PreTrainedModel,
        config: LearnerOptions,
        distributed: Distributed,
    ) -> None:
        self.algorithm, self.config, self.distributed = algorithm, config, distributed
        self.runtime = distributed.runtime
        self.updates_per_rollout = config.epochs * config.minibatches
        self.frozen: dict[str, Callable[[Batch], Tensor]] = {}  # who says a tensor of the batch
        self.reference = None
        if "reference" in algorithm.requires and not config.precompute_reference:
            dtype = None if config.ref_sync_every else self.runtime.dtype
            self.reference = model if has_lora(model) else frozen_copy(model, dtype)
            self.frozen["ref_logprobs"] = partial(self._said_by, self.reference)
        critic = None
        if "critic" in algorithm.requires:
            critic = Critic(model, shares_body=config.critic == "shared")
        optimizer = make_optimizer(config, model, critic)
        self.router_coefficient = router_coefficient(model, config.router_loss)
        self.model, self.critic, self.optimizer = distributed.prepare(model, critic, optimizer)
        # Not prepared: a prepared schedule would step once per process.
        self.schedule = make_schedule(optimizer, config)

    def prepare(self, samples: Sequence[Sample], state: State) -> Batch:
        """The batch of a whole rollout, with all that the models and the plugins say of it."""
        batch = collate(samples, max_completion_length=self.config.max_completion_length)
        batch = batch.to(self.runtime.device)
        said = {name: says(batch) for name, says in self.frozen.items()}
        one_update = self.updates_per_rollout == 1  # whose own log-probs are the old ones
        needed = self.algorithm.prepare_requires if one_update else self.algorithm.requires
        if self.critic is not None or "old_logprobs" in needed:
            said["old_logprobs"], values = self._without_gradient(self.model, batch, self.critic)
            if self.critic is not None:
                said["values"] = values
        return self.algorithm.advantage(batch.replace(**said), state)

    def logprobs(self, batch: Batch) -> Tensor:
        """What the policy says of a whole batch, without gradient; [N, T]."""
        return self._without_gradient(self.model, batch.to(self.runtime.device))[0]

    def _said_by(self, model: PreTrainedModel, batch: Batch) -> Tensor:
        """The log-probs of a model without its adapters."""
        with without_lora(model):
            return self._without_gradient(model, batch)[0]

    @torch.no_grad()
    def measure(self, batch: Batch, meter: Meter) -> None:
        """Add the loss of a prepared batch to the meter, and learn nothing."""
        for loss in self._losses(self.algorithm.weigh(batch), meter):
            meter.add(loss)

    def update(self, minibatch: Batch, meter: Meter, *, only_critic: bool = False) -> None:
        """One optimizer step: the losses of the micro-batches add up to that of the minibatch.

        Raises:
            TrainingError: The gradient is not finite; no weight has changed.
        """
        for loss in self._losses(self.algorithm.weigh(minibatch), meter):
            self.distributed.backward(loss.total)
            meter.add(loss)
        norm = self._clip_gradients(self.model, meter)
        meter.norms.append(norm)
        if self.critic is not None:
            self._clip_gradients(self.critic, meter)
        if only_critic or norm == 0:  # without a gradient, momentum would move the weights
            self.model.zero_grad()
        self.optimizer.step()
        self.schedule.step()
        self.optimizer.zero_grad()

    @torch.no_grad()
    def refresh_reference(self) -> None:
        """Move the reference towards the policy, by the share that the configuration says."""
        if self.reference is not None:
            pairs = zip(self.reference.parameters(), self.model.parameters(), strict=True)
            for reference, policy in pairs:
                reference.lerp_(policy, self.config.ref_sync_alpha)

    def checkpoint(self) -> dict[str, Any]:
        """The weights that are not the policy's and cannot be made again from where it began."""
        parts: dict[str, Any] = {}
        if self.critic is not None:
            named = self.critic.named_parameters()
            parts["critic"] = {name: p.detach() for name, p in named if p.requires_grad}
        if self.reference is not None and self.config.ref_sync_every is not None:
            parts["reference"] = self.reference.state_dict()
        return parts

    def _losses(self, batch: Batch, meter: Meter) -> Iterator[Loss]:
        """The losses of the micro-batches of a weighed batch."""
        units, _ = self.algorithm.units_by_weight(batch)  # the others have no part in the loss
        tokens = batch.sequence_lengths[[row for unit in units for row in unit]].sum()
        for rows in self._micro_batches(batch, units):
            part = batch.rows(rows)
            with self._recorded_balance() as balance:
                scores = self._score(self.model, part, self.critic)
            logprobs = scores.logprobs.detach()
            if "old_logprobs" in self.algorithm.requires and "old_logprobs" not in part:
                # The policy has not moved since the rollout, so its old log-probs are these.
                part = part.replace(old_logprobs=logprobs)
            if "sampler_logprobs" in part and ("old_logprobs" in part or not meter.norms):
                ours = part.tensors.get("old_logprobs", logprobs)
                meter.compare(ours, part.sampler_logprobs, part.mask)
            loss = self.algorithm.loss(scores.logprobs, part, scores.values, scores.entropy)
            for unbalanced in balance:  # a mean over tokens, where all else is a sum
                share = self.router_coefficient * part.sequence_lengths.sum() / tokens
                loss = loss.plus("router", share * unbalanced)
            yield loss

    def _recorded_balance(self) -> AbstractContextManager[list[Tensor]]:
        return recorded_balance(self.model) if self.router_coefficient else nullcontext([])

    def _score(self, model: PreTrainedModel, batch: Batch, critic: Critic | None) -> TokenScores:
        with self.runtime.autocast():
            return score_tokens(
                model,
                batch,
                temperature=self.config.temperature,
                with_entropy_gradient="entropy" in self.algorithm.requires,
                critic=critic,
            )

    @torch.no_grad()
    def _without_gradient(
        self, model: PreTrainedModel, batch: Batch, critic: Critic | None = None
    ) -> tuple[Tensor, Tensor]:
        """Log-probs and values of a whole batch, without gradient; [N, T] each."""
        logprobs, values = torch.zeros((2, *batch.mask.shape), device=self.runtime.device)
        for rows in self._micro_batches(batch, self.algorithm.units(batch)):
            scores = self._score(model, batch.rows(rows), critic)
            logprobs[rows] = scores.logprobs
            if scores.values is not None:
                values[rows] = scores.values
        return logprobs, values

    def _micro_batches(self, batch: Batch, units: list[list[int]]) -> Iterator[Tensor]:
        for rows in micro_batches(batch.sequence_lengths, self.runtime.token_budget, units):
            yield rows.to(self.runtime.device)

    def _clip_gradients(self, part: nn.Module, meter: Meter) -> float:
        norm = self.distributed.clip_gradients(part.parameters(), self.config.max_grad_norm)
        if not math.isfinite(norm):
            terms = {name: round(term, 4) for name, term in meter.terms.items()}
            raise TrainingError(
                f"the gradient is not finite: loss terms {terms}; lower learning_rate or look at "
                "the rewards"
            )
        return norm
