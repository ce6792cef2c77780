"""Interrupt code that takes too long, without a process of its own."""

import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from anypo.errors import ConfigError

# Not SIGALRM: reward functions use it themselves (math-verify does) and would cancel ours. This
# one comes from a thread, which gets no turn while C code holds the GIL; SIGPROF does then.
SIGNAL = getattr(signal, "SIGUSR2", None)
_LAST_WORDS: list[Callable[[], str]] = []
AGAIN = 5.0  # seconds, after which code that goes on nevertheless is interrupted once more


class DeadlineError(BaseException):
    """The time is up. Not an Exception, so that no `except Exception` on the way swallows it.

    Attributes:
        alarm: What the `deadline` block yields: tells whose time it was where blocks are nested.
    """

    def __init__(self, alarm: "Alarm") -> None:
        super().__init__()
        self.alarm = alarm


class Alarm:
    """Raises at the end of the time; a signal that comes early is another's, or set again."""

    def __init__(self, seconds: float) -> None:
        self.end = time.monotonic() + seconds
        self.over = False
        self.raised = -math.inf  # when, the last time
        self.around: Any = None  # the handler of a deadline around this one

    def __call__(self, number: int, frame: Any) -> None:
        """Handle a signal."""
        left = self.end - time.monotonic()
        if left > 0 and number == SIGNAL and callable(self.around):
            self.around(number, frame)
        elif left > 0 and number == signal.SIGPROF:  # CPU time of several threads runs ahead
            signal.setitimer(signal.ITIMER_PROF, left)
        elif not self.over and time.monotonic() - self.raised > AGAIN / 2:
            self.raised = time.monotonic()  # the other signal must not interrupt what cleans up
            raise DeadlineError(self)


def can_be_timed() -> bool:
    """Whether code that runs here can be interrupted."""
    return SIGNAL is not None and threading.current_thread() is threading.main_thread()


@contextmanager
def deadline(seconds: float, option: str = "reward_timeout") -> Iterator[Alarm | None]:
    """Raise DeadlineError in the block once `seconds` have passed; 0 means no limit.

    Args:
        seconds: How long it may take.
        option: Of the run, that says so.

    Raises:
        ConfigError: The platform or the thread cannot be interrupted; only a limit of 0 works.
    """
    if not seconds:
        yield None
        return
    if SIGNAL is None or not can_be_timed():
        raise ConfigError(
            f"only the main thread on POSIX can be timed: call run there, or set {option} to 0"
        )
    alarm = Alarm(seconds)
    previous = {number: signal.signal(number, alarm) for number in (SIGNAL, signal.SIGPROF)}
    alarm.around = previous[SIGNAL]
    left, _ = signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        with _afterwards(seconds, _interrupt, AGAIN):
            try:
                yield alarm
            finally:
                alarm.over = True
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        for number, handler in previous.items():
            signal.signal(number, handler)
        signal.setitimer(signal.ITIMER_PROF, left)  # of a deadline around this one


@contextmanager
def last_words(say: Callable[[], str]) -> Iterator[None]:
    """Have a process that is ended in the block save what it has first, and tell where."""
    _LAST_WORDS.append(say)
    try:
        yield
    finally:
        _LAST_WORDS.remove(say)


@contextmanager
def last_resort(seconds: float, why: str) -> Iterator[None]:
    """End the process, with one line, if the block has not come to an end; 0 means never.

    For code that nothing can interrupt. It goes on meanwhile, but nothing that comes after it.
    """

    def end() -> None:
        said = [why]
        with suppress(Exception):  # the process ends in any case
            said += [say() for say in _LAST_WORDS]
        os.write(2, f"\nerror: {'; '.join(said)}\n".encode())
        os._exit(1)

    if not seconds:
        yield
        return
    with _afterwards(seconds, end, seconds):
        yield


@contextmanager
def _afterwards(seconds: float, do: Callable[[], None], again: float) -> Iterator[None]:
    """Do something in a thread once the time is up, and again and again until the block ends."""
    ended = threading.Event()

    def wait() -> None:
        pause = seconds
        while not ended.wait(pause):
            do()
            pause = again

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()  # past this point it cannot do anything any more


def _interrupt() -> None:
    """Send the main thread those signals that still have a handler: others would end the process.

    The second counts where the code has taken the first for itself.
    """
    for number in (SIGNAL, signal.SIGPROF):
        if number is not None and callable(signal.getsignal(number)):
            signal.pthread_kill(threading.main_thread().ident or 0, number)
