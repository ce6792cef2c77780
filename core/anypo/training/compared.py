"""The models that the policy is compared with: the reference, and the teacher."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel

from anypo.composition.algorithm import Algorithm
from anypo.hooks.runtime import Runtime
from anypo.models.adapters import has_lora
from anypo.models.load import frozen_copy
from anypo.training.options import AVERAGE, POLICY, LearnerOptions
from anypo.training.replica import Replica


@dataclass(frozen=True)
class Other:
    """A model that is not the policy's."""

    model: PreTrainedModel  # without weights, if they are to be sharded
    replica: Replica | None = None  # which has them then


Others = Mapping[str, Other]  # by what they are required as
NONE: Others = {}


def compared(
    algorithm: Algorithm,
    policy: PreTrainedModel,
    config: LearnerOptions,
    runtime: Runtime,
    others: Others,
) -> dict[str, PreTrainedModel]:
    """The models by what they are required as: the policy itself, a copy of it, or another one."""
    found: dict[str, PreTrainedModel] = {}
    if "reference" in algorithm.requires and not config.precompute_reference:
        moves = config.ref_sync_every is not None
        found["reference"] = _reference(policy, None if moves else runtime.dtype, others)
    if "teacher" in algorithm.requires:
        own: dict[str | None, Callable[[], PreTrainedModel]] = {
            POLICY: lambda: policy,
            AVERAGE: lambda: frozen_copy(policy),
        }
        found["teacher"] = (own.get(config.teacher) or (lambda: others["teacher"].model))()
    return found


def _reference(
    policy: PreTrainedModel, dtype: torch.dtype | None, others: Others
) -> PreTrainedModel:
    if "reference" in others:
        return others["reference"].model
    return policy if has_lora(policy) else frozen_copy(policy, dtype)


@torch.no_grad()
def follow(follower: PreTrainedModel, policy: PreTrainedModel, share: float) -> None:
    """Move the weights of a copy towards those of the policy, by a share of the way."""
    for old, new in zip(follower.parameters(), policy.parameters(), strict=True):
        old.lerp_(new, share)
