"""The models that the policy is compared with: the reference, and the teacher."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from anypo.composition.algorithm import Algorithm
from anypo.errors import SamplerError, TrainingError
from anypo.hooks.batch import Batch
from anypo.models.adapters import has_lora
from anypo.models.load import context_length, frozen_copy
from anypo.training.distributed import Distributed
from anypo.training.options import AVERAGE, POLICY, LearnerOptions
from anypo.training.replica import Replica


@dataclass(frozen=True)
class Other:
    """A model that is not the policy's."""

    model: PreTrainedModel  # without weights, if they are to be sharded
    replica: Replica | None = None  # which has them then


Others = Mapping[str, Other]  # by what they are required as
NONE: Others = {}


class Compared:
    """Those that an algorithm requires: the policy itself, a copy of it, or another model.

    Args:
        algorithm: What requires them.
        policy: What is trained.
        config: Says which they are.
        distributed: Where they run.
        others: The models that options name.

    Attributes:
        models: By what they are required as.
    """

    def __init__(
        self,
        algorithm: Algorithm,
        policy: PreTrainedModel,
        config: LearnerOptions,
        distributed: Distributed,
        others: Others,
    ) -> None:
        self.policy, self.config, self.is_sharded = policy, config, distributed.shards
        self.models: dict[str, PreTrainedModel] = {}
        if "reference" in algorithm.requires and not config.precompute_reference:
            moves = config.ref_sync_every is not None
            dtype = None if moves else distributed.runtime.dtype
            self.models["reference"] = _reference(policy, dtype, others)
        if "teacher" in algorithm.requires:
            own: dict[str | None, Callable[[], PreTrainedModel]] = {
                POLICY: lambda: policy,
                AVERAGE: lambda: frozen_copy(policy),
            }
            made = own.get(config.teacher) or (lambda: others["teacher"].model)
            self.models["teacher"] = made()

    @property
    def moving(self) -> dict[str, PreTrainedModel]:
        """The models that follow the policy."""
        moves = {"reference": self.config.ref_sync_every is not None}
        moves |= {"teacher": self.config.teacher == AVERAGE}
        return {name: model for name, model in self.models.items() if moves[name]}

    def follow(self, step: int) -> None:
        """After a step, move what follows the policy, as the configuration says."""
        every, moving = self.config.ref_sync_every, self.moving
        if "reference" in moving and every and step % every == 0:
            _move(moving["reference"], self.policy, self.config.ref_sync_alpha)
        if "teacher" in moving:
            _move(moving["teacher"], self.policy, 1 - self.config.teacher_decay)

    def check_taught(self, read: Batch) -> None:
        """Refuse what a teacher reads that is longer than it attends to; raises TrainingError."""
        longest = int(read.sequence_lengths.max())
        context = context_length(self.models["teacher"].config)
        if context is not None and longest > context:
            raise TrainingError(
                f"what the teacher reads has {longest} tokens, but it attends to {context}: ask "
                "for shorter completions, or have the rollout give it a shorter prompt"
            )

    @contextmanager
    def lent(self, name: str) -> Iterator[tuple[PreTrainedModel, PreTrainedModel]]:
        """A model to draw from in the policy's place, and the policy.

        Raises:
            SamplerError: It is not there as a model of its own, in one piece.
        """
        if self.is_sharded or has_lora(self.models[name]):
            why = "its weights are sharded" if self.is_sharded else "it is the policy's own"
            raise SamplerError(f"nothing can be drawn from the {name}: {why}")
        yield self.models[name], self.policy


def _reference(
    policy: PreTrainedModel, dtype: torch.dtype | None, others: Others
) -> PreTrainedModel:
    if "reference" in others:
        return others["reference"].model
    return policy if has_lora(policy) else frozen_copy(policy, dtype)


@torch.no_grad()
def _move(follower: PreTrainedModel, policy: PreTrainedModel, share: float) -> None:
    """Move the weights of a copy towards those of the policy, by a share of the way."""
    for old, new in zip(follower.parameters(), policy.parameters(), strict=True):
        old.lerp_(new, share)
