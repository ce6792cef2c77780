"""The event loop in which code of others waits."""

import asyncio
from collections.abc import Coroutine
from functools import cache
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


def awaited(work: Coroutine[Any, Any, T], timeout: float) -> T:
    """What comes of a coroutine.

    Args:
        work: What is to be waited for; it raises no TimeoutError itself.
        timeout: Seconds that it may take; 0 for no limit.

    Raises:
        TimeoutError: The time is up.
    """
    waiting = asyncio.run_coroutine_threadsafe(work, _loop())
    try:
        return waiting.result(timeout or None)
    except TimeoutError:
        _loop.cache_clear()  # it may be what hangs
        raise
    finally:
        waiting.cancel()


@cache
def _loop() -> asyncio.AbstractEventLoop:
    """One for all calls, as a client keeps its connections in the loop that it was first used in.

    It runs in a thread: in a notebook, this one runs a loop already. And a function that blocks
    there for good blocks neither the run, which ends with its model saved, nor the end of Python.
    """
    loop = asyncio.new_event_loop()
    Thread(target=loop.run_forever, name="awaited", daemon=True).start()
    return loop
