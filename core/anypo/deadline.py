"""Interrupt code that takes too long, without a thread or process of its own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from anypo.errors import ConfigError

# Not SIGALRM: reward functions use it themselves (math-verify does) and would cancel ours.
SIGNAL = getattr(signal, "SIGUSR2", None)


class DeadlineError(BaseException):
    """The time is up. Not an Exception, so that no `except Exception` on the way swallows it."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise DeadlineError in the block once `seconds` have passed; 0 means no limit.

    Raises:
        ConfigError: The platform or the thread cannot be interrupted; only a limit of 0 works.
    """
    if not seconds:
        yield
        return
    main = threading.main_thread()
    if SIGNAL is None or threading.current_thread() is not main:
        raise ConfigError("only the main thread on POSIX can be timed; set reward_timeout to 0")
    previous = signal.signal(SIGNAL, _raise)
    timer = threading.Timer(seconds, signal.pthread_kill, (main.ident, SIGNAL))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()  # past this point it cannot fire any more
        signal.signal(SIGNAL, previous)


def _raise(*_: Any) -> None:
    raise DeadlineError
