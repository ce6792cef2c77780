"""What part of a pass over a batch each process makes."""

import hashlib
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from anypo.composition.algorithm import Algorithm
from anypo.errors import PluginError
from anypo.hooks.batch import Batch
from anypo.models.lines import MicroBatch
from anypo.support.world import World, shares

Units = list[list[int]]  # rows that no split may separate


def by_weight(algorithm: Algorithm, batch: Batch) -> tuple[Units, Units]:
    """The units of a weighed batch with a weight somewhere, and those without any."""
    weights = torch.stack([w.any(-1) for w in batch.weights.values()]).any(0).tolist()
    parts: tuple[Units, Units] = [], []
    for unit in algorithm.units(batch):
        parts[not any(weights[row] for row in unit)].append(unit)
    return parts


def that_learn(algorithm: Algorithm, batch: Batch, *, without_advantage: bool = False) -> Units:
    """The units that add something to the gradient; weights are looked at if there are any.

    With `without_advantage`, those without one count too: something else is learnt of them.
    """
    units = by_weight(algorithm, batch)[0] if batch.weights else algorithm.units(batch)
    if without_advantage or not algorithm.findings.only_advantages_count:
        return units
    advantages = batch.advantages.any(-1).tolist()
    return [unit for unit in units if any(advantages[row] for row in unit)]


def tokens_of(batch: Batch, units: Units) -> Tensor:
    """How many tokens the rows of some units have, prompts included."""
    return batch.sequence_lengths[[row for unit in units for row in unit]].sum()


def shared_out(
    batch: Batch, units: Units, cut: Callable[[Units], Iterable[MicroBatch]], world: World
) -> list[MicroBatch]:
    """The micro-batches of this process, whose rows have about as many tokens as those of others.

    They are as many as any process has, since weights that are sharded are gathered anew in each:
    where there is no more to do, a row goes through the model once more and does not count.

    Args:
        batch: The whole batch, the same in all processes.
        units: Those of the whole batch that are wanted.
        cut: Makes micro-batches of some of them.
        world: Who shares the work.
    """
    if world.size == 1:
        return list(cut(units))
    tokens = batch.sequence_lengths.tolist()
    parts = shares([sum(tokens[row] for row in unit) for unit in units], world.size)
    mine = list(cut([units[place] for place in parts[world.rank]]))
    missing = max(world.gather(len(mine))) - len(mine)
    again = torch.tensor(units[0] if units else [], device=batch.mask.device)
    return mine + [MicroBatch(again, None, counts=False)] * missing


def check_same(batch: Batch, world: World) -> None:
    """Refuse to share the work on batches that are not the same.

    Raises:
        PluginError: Hooks did something else in one process than in another.
    """
    if world.size == 1:
        return
    told = [(name, x.shape, _digest(x)) for name, x in batch.tensors.items()]
    if any(other != told for other in world.gather(told)):
        raise PluginError(
            "the processes have different batches after the rollout, or different advantages: a "
            "plugin draws random numbers that are not torch's, Python's or NumPy's global ones, "
            "or depends on the order of a set"
        )


def _digest(x: Tensor) -> bytes:
    return hashlib.sha256(x.cpu().contiguous().numpy().tobytes()).digest()
