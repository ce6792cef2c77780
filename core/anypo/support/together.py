"""Wait for several things at once."""

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from anyio import CapacityLimiter, create_task_group

T = TypeVar("T")


async def together(
    jobs: Sequence[Callable[[], Awaitable[T]]], at_a_time: float = math.inf
) -> list[T]:
    """What comes of all jobs, in their order; the first that fails ends the others.

    Args:
        jobs: Called and waited for.
        at_a_time: How many of them, at most.

    Raises:
        Exception: That of the first job that failed.
    """
    results: dict[int, T] = {}
    places = CapacityLimiter(at_a_time)

    async def note(number: int, job: Callable[[], Awaitable[T]]) -> None:
        async with places:
            results[number] = await job()

    try:
        async with create_task_group() as group:
            for number, job in enumerate(jobs):
                group.start_soon(note, number, job)
    except ExceptionGroup as errors:
        first = errors.exceptions[0]
        raise first from first.__cause__
    return [results[number] for number in range(len(jobs))]
