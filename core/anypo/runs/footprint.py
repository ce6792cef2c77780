"""The memory and the disk that a run takes, told without its weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import torch
from torch import nn
from transformers import PreTrainedModel

from anypo.composition.algorithm import Algorithm
from anypo.hooks.batch import Prompt
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import Memory, SamplingRequest
from anypo.models.adapters import add_lora, has_lora
from anypo.models.checkpointing import checkpoint_activations
from anypo.models.critic import Critic
from anypo.models.load import frozen_copy, load_model
from anypo.models.precision import shrink_frozen
from anypo.models.unreal import Reserve, pretend, stored_bytes
from anypo.rewards.model import ScoreOfModel
from anypo.runs.engines import evaluation_request, training_request
from anypo.runs.options import sampler_of
from anypo.runs.rehearsal import Rollout
from anypo.runs.setup import Setup, longest_of
from anypo.sampling.continuation import can_pad
from anypo.sampling.footprint import sampling_of
from anypo.sampling.transformers import Transformers
from anypo.training.footprint import Pass, passes, sharing_assumed, update_of
from anypo.training.optimizer import remembered_bytes
from anypo.training.options import AVERAGE

Parts = dict[str, float]  # bytes, by what they hold


@dataclass
class Models:
    """The models of a run, without values."""

    policy: PreTrainedModel
    reference: PreTrainedModel | None = None
    teacher: PreTrainedModel | None = None
    critic: Critic | None = None
    rewards: list[PreTrainedModel] = field(default_factory=list)


def models_of(algorithm: Algorithm, found: Setup, runtime: Runtime) -> Models:
    """The models that a run loads and makes."""
    config, requires = found.config, algorithm.requires
    policy = load_model(
        found.model,
        empty=True,
        scalar_head=not algorithm.generates,
        trust_remote_code=runtime.trust_remote_code,
        dtype=getattr(torch, config.weights),
    )
    judges = [r.function for r in found.scorer.rewards if isinstance(r.function, ScoreOfModel)]
    scoring = [_frozen(judge.path, runtime, scalar_head=True) for judge in judges]
    models = Models(policy, rewards=scoring)
    for role, path in config.others.items():
        setattr(models, role, _frozen(path, runtime))
    with torch.device("meta"):
        if config.lora_rank is not None:
            add_lora(policy, found.model, config)
            shrink_frozen(policy, runtime.dtype)
        elif "reference" in requires and not (config.precompute_reference or config.reference):
            models.reference = frozen_copy(policy, None if config.ref_sync_every else runtime.dtype)
        if "critic" in requires:
            alone = config.critic_model is not None
            shares = config.critic == "shared"
            models.critic = Critic(policy, shares_body=shares, shares_frozen=not alone)
    there = (policy, models.reference, models.teacher, models.critic, *models.rewards)
    pretend([model for model in there if model is not None], runtime.device)
    checkpoint_activations(policy, config.gradient_checkpointing, runtime.device)
    return models


def _frozen(path: str, runtime: Runtime, *, scalar_head: bool = False) -> PreTrainedModel:
    trusted = runtime.trust_remote_code
    model = load_model(path, scalar_head=scalar_head, trust_remote_code=trusted, empty=True)
    shrink_frozen(model.requires_grad_(False), runtime.dtype)
    return model


class Counting:
    """Counts what one process of a run takes.

    Args:
        algorithm: That of the run.
        found: What it works with.
        runtime: Where and how it runs.
        rollout: Of a step, as large as one may be.
    """

    def __init__(
        self, algorithm: Algorithm, found: Setup, runtime: Runtime, rollout: Rollout
    ) -> None:
        self.algorithm, self.found, self.runtime = algorithm, found, runtime
        self.config, self.rollout = found.config, rollout
        self.processes = self.config.processes or 1
        self.shared_by = self.processes if self.config.sharding == "fsdp" else 1
        self.models = models_of(algorithm, found, runtime)
        self.trained = [self.models.policy, self.models.critic]
        self.reserve = Reserve(runtime.device)

    def always(self) -> Parts:
        """What stays from step to step."""
        models, judges = self.models, self.models.rewards
        parts = {
            "weights, trained": self._gradients,
            "weights, frozen": stored_bytes(
                [models.policy, models.critic],
                trained=False,
                four_bits=self.config.quantize is not None,
            )
            / self.shared_by,
            f"optimizer state ({self.config.optimizer})": self.remembered / self.shared_by,
            "reference model": stored_bytes([models.reference], trained=False) / self.shared_by,
            "teacher": stored_bytes([models.teacher], trained=False) / self.shared_by,
            "averaged weights": (self._averaged + self._start) / self.shared_by,
            "reward models": stored_bytes(judges, trained=False),
        }
        if self.shared_by > 1:
            parts["whole copy, to sample from and to save"] = self._whole
        elif self.processes > 1:
            parts["gradients, to be added up"] = self._gradients
        return parts

    def sampling(self) -> Parts:
        """What the policy itself takes to draw completions."""
        if not isinstance(sampler_of(self.config)[1], Transformers):
            return {}
        found, rollout = self.found, self.rollout
        memory = Memory() if self.config.environment else None
        training = replace(training_request(self.config), n=rollout.each, memory=memory)
        evaluating = replace(evaluation_request(self.config, training), n=self.config.eval_samples)
        said = self.config.longest_sample - self.config.max_completion_length  # before the last
        kinds = list[tuple[int, list[Sequence[Prompt]], SamplingRequest]]()
        kinds += [(rollout.prompts, [*found.sets], training)] if rollout.drawn else []
        kinds += [(len(prompts), [prompts], evaluating) for prompts in found.completed]
        drawn = [
            sampling_of(
                self.models.policy,
                math.ceil(count / self.processes),
                longest_of(sets) + said,
                request,
                self.runtime,
                self.reserve,
            )
            for count, sets, request in kinds
        ]
        if not drawn:
            return {}
        most = max(drawn, key=lambda one: one.most)
        return {
            f"cache of {most.rows} completions": most.cache,
            **({"what was read of conversations": most.known} if most.known else {}),
            "logits of a token, and what else is computed": most.most - most.cache - most.known,
        }

    def updating(self) -> Parts:
        """What the largest pass of an update takes, with the gradients."""
        passes = self.passes()
        largest = max(passes, key=lambda one: one.tokens)
        entropy = "entropy" in self.algorithm.requires
        again = partial(
            update_of,
            self.models.policy,
            self.models.critic,
            self.config,
            self.runtime,
            largest,
            self.reserve,
            learns_entropy=entropy,
            accumulates=len(passes) > 1,
        )
        again()
        self._begin_optimizer()
        for weight in self._weights:
            weight.grad = None
        update = again()
        kept = 0.0 if self.processes > self.shared_by else self._gradients * self.shared_by
        gradients = min(kept, update.most - update.activations)
        return {
            f"activations of {largest.tokens:,} tokens": update.activations,
            "gradients": gradients / self.shared_by,
            "logits of a chunk, and what else is computed": update.most
            - update.activations
            - gradients,
        }

    def _begin_optimizer(self) -> None:
        """Have its state lie where the first update has left room, as in a run."""
        each = self._remembered_of_a_weight
        for weight in self._weights:
            self.reserve.take(id(weight), int(weight.numel() * each))

    def passes(self) -> list[Pass]:
        """What goes through the model one after the other for an update."""
        config, policy, budget = self.config, self.models.policy, self.runtime.token_budget
        sharing = None
        if self.algorithm.generates and can_pad(policy):
            sharing = sharing_assumed(policy, self.found.longest, budget)
        share = config.minibatches * self.processes
        return passes(self.algorithm, self.rollout.samples, sharing, share, budget)

    def disk(self) -> Parts:
        """What is kept of the model that is trained, and of a state to go on from."""
        state = self.remembered + stored_bytes([self.models.critic], trained=True)
        if has_lora(self.models.policy):
            state += stored_bytes([self.models.policy], trained=True)
        if self.config.ref_sync_every is not None:
            state += stored_bytes([self.models.reference], trained=False)
        models = self._whole * (1 + self.config.averages)
        return {"model": models, "checkpoint": models + state + self._averaged}

    @property
    def _gradients(self) -> float:
        return stored_bytes(self.trained, trained=True) / self.shared_by

    @property
    def _weights(self) -> list[nn.Parameter]:
        """All that are trained."""
        parts = [part for part in self.trained if part is not None]
        held = {id(w): w for part in parts for w in part.parameters() if w.requires_grad}
        return list(held.values())

    @cached_property
    def _remembered_of_a_weight(self) -> float:
        """Bytes of optimizer state; all weights that are trained have one type."""
        return remembered_bytes(self.config, self._weights[0].dtype, self.runtime.device)

    @property
    def remembered(self) -> float:
        """Bytes of optimizer state."""
        return self._remembered_of_a_weight * sum(weight.numel() for weight in self._weights)

    @property
    def _averaged(self) -> float:
        """Of the averages of the weights of the policy."""
        teaches = "teacher" in self.algorithm.requires and self.config.teacher == AVERAGE
        return self._in_float32 * (teaches + self.config.averages)

    @property
    def _start(self) -> float:
        """Of the weights of the policy before training, from which an average goes on."""
        return self._in_float32 * (self.config.bema is not None)

    @property
    def _in_float32(self) -> float:
        """Of the weights of the policy that are trained."""
        trained = [w.numel() for w in self.models.policy.parameters() if w.requires_grad]
        return 4.0 * sum(trained)

    @property
    def _whole(self) -> float:
        """Of the policy as it is saved: with adapters merged, in float32."""
        policy = self.models.policy
        if not has_lora(policy):
            return stored_bytes([policy], trained=True)
        return 4.0 * sum(w.numel() for n, w in policy.named_parameters() if ".lora_" not in n)
