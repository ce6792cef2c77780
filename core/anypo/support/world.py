"""The processes of a run, and what they say to each other."""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from anypo.errors import AnypoError, PeerError, one_line

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The processes of a run, of which this is one. Alone, it only talks to itself.

    Whatever is said here, all processes must say, in the same order.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and tells."""
        return self.rank == 0

    def gather(self, mine: T) -> list[T]:
        """What each process has, in the order of their ranks."""
        if self.size == 1:
            return [mine]
        every: list[Any] = [None] * self.size
        with _lost_peers():
            dist.all_gather_object(every, mine)
        return every

    def sum_(self, tensor: Tensor) -> Tensor:
        """The sum over the processes, in place of what each has; they have the same shape."""
        if self.size > 1:
            with _lost_peers():
                dist.all_reduce(tensor)
        return tensor

    def from_first_(self, tensor: Tensor) -> None:
        """Put what the first process has in place of what each has; they have the same shape."""
        if self.size > 1:
            with _lost_peers():
                dist.broadcast(tensor.flatten().view(torch.uint8), 0)  # of any type

    @contextmanager
    def agreed(self) -> Iterator[None]:
        """Raise in all processes what one of them raises in the block, which talks to no other."""
        mine: BaseException | None = None
        try:
            yield
        except (Exception, SystemExit) as error:
            mine = error
        said = self.gather(mine if isinstance(mine, AnypoError) or mine is None else _told(mine))
        if mine is not None and not isinstance(mine, AnypoError):
            raise mine
        if theirs := next(filter(None, said), None):
            theirs.of_all = True
            raise theirs

    def on_first(self, action: Callable[[], T]) -> T:
        """What the first process gets from an action that it alone takes, or its error."""
        mine: T | None = None
        with self.agreed():
            mine = action() if self.is_first else None
        told: list[T | None] = [mine]
        if self.size > 1:
            with _lost_peers():
                dist.broadcast_object_list(told)
        return cast(T, told[0])

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Let each process draw random numbers of its own; afterwards all draw the same again."""
        if self.size == 1:
            yield
            return
        seed = int(torch.randint(2**31, ())) + self.rank
        python, arrays = random.getstate(), np.random.get_state()
        with torch.random.fork_rng(
            [torch.cuda.current_device()] if torch.cuda.is_available() else []
        ):
            for start in (torch.manual_seed, random.seed, np.random.seed):
                start(seed)
            yield
        random.setstate(python)
        np.random.set_state(arrays)


ALONE = World()


def _told(error: BaseException) -> PeerError:
    return PeerError(f"another process failed with {type(error).__name__}: {one_line(error)}")


def lost_peer(error: BaseException) -> bool:
    """Whether it is how libraries say that another process does not answer any more."""
    says = any(word in str(error) for word in ("gloo", "NCCL", "Connection closed", "peer"))
    return isinstance(error, RuntimeError) and says


def gone(error: BaseException) -> PeerError:
    """What is left to say where the other process could not."""
    if "timed out" in str(error).lower():
        return PeerError("another process of the run has not answered for long")
    return PeerError("another process of the run is gone, perhaps killed for want of memory")


@contextmanager
def _lost_peers() -> Iterator[None]:
    """A process that is gone shows when others want to talk to it."""
    try:
        yield
    except RuntimeError as error:
        raise gone(error) if lost_peer(error) else error from error


def shares(costs: Sequence[float], number: int) -> list[list[int]]:
    """Positions of things in so many parts, in order, that cost about the same."""
    parts: list[list[int]] = [[] for _ in range(number)]
    before, total = 0.0, sum(costs) or 1.0
    for place, cost in enumerate(costs):
        parts[min(number - 1, int(number * (before + cost / 2) / total))].append(place)
        before += cost
    return parts
