"""Interrupt code that takes too long, without a thread or process of its own."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from anypo.errors import ConfigError

# Not SIGALRM: reward functions use it themselves (math-verify does) and would cancel ours. This
# one comes from a thread, which gets no turn while C code holds the GIL; SIGPROF does then.
SIGNAL = getattr(signal, "SIGUSR2", None)


class DeadlineError(BaseException):
    """The time is up. Not an Exception, so that no `except Exception` on the way swallows it.

    Attributes:
        alarm: What the `deadline` block yields: tells whose time it was where blocks are nested.
    """

    def __init__(self, alarm: "Alarm") -> None:
        super().__init__()
        self.alarm = alarm


class Alarm:
    """Raises once, at the end of the time; a signal that comes early is another's, or set again."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self.over = False
        self.around: Any = None  # the handler of a deadline around this one

    def __call__(self, number: int, frame: Any) -> None:
        """Handle a signal."""
        left = self.end - time.monotonic()
        if left > 0 and number == SIGNAL and callable(self.around):
            self.around(number, frame)
        elif left > 0 and number == signal.SIGPROF:  # CPU time of several threads runs ahead
            signal.setitimer(signal.ITIMER_PROF, left)
        elif not self.over:
            self.over = True
            raise DeadlineError(self)


@contextmanager
def deadline(seconds: float) -> Iterator[Alarm | None]:
    """Raise DeadlineError in the block once `seconds` have passed; 0 means no limit.

    Raises:
        ConfigError: The platform or the thread cannot be interrupted; only a limit of 0 works.
    """
    if not seconds:
        yield None
        return
    main = threading.main_thread()
    if SIGNAL is None or threading.current_thread() is not main:
        raise ConfigError("only the main thread on POSIX can be timed; set reward_timeout to 0")
    alarm = Alarm(seconds)
    previous = {number: signal.signal(number, alarm) for number in (SIGNAL, signal.SIGPROF)}
    alarm.around = previous[SIGNAL]
    timer = threading.Timer(seconds, signal.pthread_kill, (main.ident, SIGNAL))
    timer.daemon = True
    timer.start()
    left, _ = signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield alarm
    finally:
        alarm.over = True
        signal.setitimer(signal.ITIMER_PROF, 0)
        timer.cancel()
        timer.join()  # past this point it cannot fire any more
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.setitimer(signal.ITIMER_PROF, left)  # of a deadline around this one
