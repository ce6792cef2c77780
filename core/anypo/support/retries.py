"""Ask a service again that could not be reached, or had no time."""

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import count
from time import sleep
from typing import TypeVar

import anyio

from anypo.errors import told

# What clients raise, by the names of its classes, so that none of them has to be imported: Python
# itself, httpx, requests, aiohttp, and the clients of OpenAI and Anthropic.
TRANSPORT = {
    "ConnectionError",
    "TimeoutError",
    "gaierror",
    "URLError",
    "TransportError",
    "Timeout",
    "ClientConnectionError",
    "APIConnectionError",
}
TOO_MANY, BROKEN = 429, 500  # status codes, the latter and those above
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0  # seconds; each is twice the one before

T = TypeVar("T")


@dataclass
class Patience:
    """How often a service is asked again, and how often it was."""

    retries: int = 0  # of each request
    again: int = 0  # of all requests
    why: str = ""  # the last time
    given_up: Exception | None = None  # so that a call is not made again for its request's error

    def pause(self, attempt: int, error: Exception) -> float:
        """Seconds until the next attempt; raises the error if there is none."""
        if attempt >= self.retries or error is self.given_up or not is_passing(error):
            self.given_up = error
            raise error
        self.again, self.why = self.again + 1, told(error)
        return min(FIRST_PAUSE * 2.0**attempt, LONGEST_PAUSE)

    def call(self, ask: Callable[[], T]) -> T:
        """What `ask` returns in the end."""
        for attempt in count():
            try:
                return ask()
            except Exception as error:
                sleep(self.pause(attempt, error))
        raise AssertionError("the last attempt returns or raises")

    async def wait_for(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The same of what has to be awaited."""
        for attempt in count():
            try:
                return await ask()
            except Exception as error:
                await anyio.sleep(self.pause(attempt, error))
        raise AssertionError("the last attempt returns or raises")


PATIENCE: ContextVar[Patience] = ContextVar("patience")  # of the reward that is being asked


async def retried(ask: Callable[[], Awaitable[T]]) -> T:
    """What comes of a request, made again as often as the run says (`reward_retries`).

    For `async def` rewards that make several requests: without it, all of them are made again when
    one fails. Only errors of transport count: the service cannot be reached, takes too long, or
    answers with status 429 or 5xx.

    Args:
        ask: Makes the request, anew each time.

    Raises:
        Exception: That of the last attempt.
    """
    return await PATIENCE.get(Patience()).wait_for(ask)


def is_passing(error: Exception) -> bool:
    """Whether it is no fault of the request, so that the same one may succeed later."""
    status = _status(error)
    if status is not None:
        return status == TOO_MANY or status >= BROKEN
    return any(kind.__name__ in TRANSPORT for kind in type(error).__mro__)


def _status(error: Exception) -> int | None:
    """The status of the answer that was the error; None if there was no answer."""
    holders = error, getattr(error, "response", None)
    found = (getattr(h, name, None) for h in holders for name in ("status_code", "status", "code"))
    return next((status for status in found if isinstance(status, int)), None)
