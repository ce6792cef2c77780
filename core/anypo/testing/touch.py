"""Watch what hooks do to their arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from anypo.composition.algorithm import Algorithm
from anypo.composition.trial import loss_of
from anypo.hooks.batch import Batch
from anypo.testing.cases import Case, prepared

Named = dict[str, Tensor]


@dataclass(frozen=True)
class Touch:
    """A hook that left one of its arguments other than it found it."""

    blamed: str
    text: str
    carries_gradient: bool


def touched(algorithm: Algorithm, case: Case) -> list[Touch]:
    """What the hooks of all stages but the rollout edit."""
    found: list[Touch] = []
    with _monitored(algorithm, found.append):
        ready = prepared(algorithm, case)
        leaves = {name: x.clone().requires_grad_() for name, x in case.inputs.items()}
        loss_of(algorithm, ready, leaves)
    return found


@contextmanager
def _monitored(algorithm: Algorithm, report: Callable[[Touch], None]) -> Iterator[None]:
    """Report every argument of a hook that is not the same after the call."""
    before: Named = {}

    def enter(hook_name: str, _: Any, arguments: Mapping[str, Any]) -> None:
        before.clear()
        before.update({name: x.detach().clone() for name, x in _tensors(arguments).items()})

    def leave(_: Any, hook_name: str, __: Any, arguments: Mapping[str, Any]) -> None:
        for name, x in _tensors(arguments).items():
            text = _edited(name, before.get(name), x)
            if text:
                gradient = name.startswith("batch") and x.requires_grad
                report(Touch(algorithm.blame(hook_name), text, gradient))

    undo = algorithm.manager.add_hookcall_monitoring(enter, leave)
    try:
        yield
    finally:
        undo()


def _tensors(arguments: Mapping[str, Any]) -> Named:
    """Every tensor of the arguments of a hook, by name."""
    found: Named = {name: x for name, x in arguments.items() if isinstance(x, Tensor)}
    batch = arguments.get("batch")
    if isinstance(batch, Batch):
        found["batch.mask"] = batch.mask
        found |= {f"batch.{name}": x for name, x in batch.tensors.items()}
        found |= {f"batch.scores['{name}']": x for name, x in batch.scores.items()}
        found |= {f"batch.weights['{name}']": x for name, x in batch.weights.items()}
    return found


def _edited(name: str, before: Tensor | None, after: Tensor) -> str:
    if before is None:
        return f"puts a tensor into the batch: {name}"
    if before.shape != after.shape or before.dtype != after.dtype:
        return f"puts another tensor in the place of {name}"
    same = (before == after) | ((before != before) & (after != after))
    if bool(same.all()):
        kept_graph = name.startswith("batch") and after.requires_grad
        return f"puts another tensor in the place of {name}" if kept_graph else ""
    place = tuple((~same).nonzero()[0].tolist())
    was, now = before[place].item(), after[place].item()
    return f"changes {name} in place: {was:.4g} became {now:.4g} at {list(place)}"
