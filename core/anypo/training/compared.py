"""The models that the policy is compared with: the reference, and the teacher."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedModel

from anypo.composition.algorithm import Algorithm
from anypo.errors import ModelError, SamplerError, TrainingError
from anypo.hooks.batch import Batch
from anypo.models.adapters import has_lora
from anypo.models.forward import TokenScorer
from anypo.models.load import context_length, frozen_copy
from anypo.training.average import Average
from anypo.training.distributed import Distributed
from anypo.training.options import AVERAGE, LearnerOptions
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
        self.average: Average | None = None
        if "teacher" in algorithm.requires:
            self.models["teacher"] = others["teacher"].model if "teacher" in others else policy
            if config.teacher == AVERAGE:
                self.average = Average(policy, config.teacher_decay)

    @property
    def moving(self) -> dict[str, Tensor]:
        """The weights that follow those of the policy, by names that no others have."""
        found: dict[str, Tensor] = {}
        if "reference" in self.models and self.config.ref_sync_every is not None:
            named = self.models["reference"].named_parameters()
            found |= {f"reference.{name}": weight for name, weight in named}
        if self.average:
            found |= {f"teacher.{name}": weight for name, weight in self.average.weights.items()}
        return found

    def follow(self, step: int) -> bool:
        """After a step, move what follows the policy; says whether the reference has moved."""
        every = self.config.ref_sync_every
        moves = "reference" in self.models and every is not None and step % every == 0
        if moves:
            _move(self.models["reference"], self.policy, self.config.ref_sync_alpha)
        if self.average:
            self.average.follow()
        return moves

    def teaching(self) -> AbstractContextManager[None]:
        """Inside the block, the policy has the weights that teach, if its average does."""
        return self.average.shown() if self.average else nullcontext()

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
        is_own = self.models[name] is self.policy
        if self.is_sharded or is_own:
            why = "its weights are sharded" if self.is_sharded else "it is no model of its own"
            raise SamplerError(f"nothing can be drawn from the {name}: {why}")
        yield self.models[name], self.policy


def check_chunks(teacher: TokenScorer) -> None:
    """Refuse a teacher whose whole distribution cannot be had; raises ModelError."""
    if teacher.making is None:
        raise ModelError(
            "the teacher makes its logits in a way of its own, so its distribution cannot be had "
            "chunk by chunk: name another teacher"
        )


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
