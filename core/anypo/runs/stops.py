"""Signals that ask a run to end, which it does where nothing is lost."""

import os
import signal
import threading
import time
from types import FrameType
from typing import Any

from anypo.errors import StoppedError
from anypo.support.world import ALONE, World

NAMES = ("SIGINT", "SIGTERM", "SIGHUP")
ONE = 0.5  # seconds in which signals count as one: terminals and launchers repeat them


class Stops:
    """Notes such a signal in its block; another one ends the process, or the block, at once.

    Only in the main thread: signals reach no other.
    """

    def __init__(self, world: World = ALONE) -> None:
        self.world = world
        self.asked = 0  # the number of the signal
        self.at_once = False
        self._since = 0.0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stops":
        if threading.current_thread() is threading.main_thread():
            numbers = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
            before = {number: signal.getsignal(number) for number in numbers}
            # What is ignored stays so: nohup, say, has SIGHUP ignored.
            self._before = {n: h for n, h in before.items() if h not in (None, signal.SIG_IGN)}
            for number in self._before:
                signal.signal(number, self._notice)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _notice(self, number: int, frame: FrameType | None) -> None:
        if not self.asked:
            self.asked, self._since = number, time.monotonic()
            if self.world.is_first:  # not by print, in the middle of which this may be
                os.write(2, b"\nending after this step; the same again ends at once\n")
        elif time.monotonic() - self._since > ONE:
            self.at_once = True
            signal.signal(number, signal.SIG_DFL)
            if number == signal.SIGINT:
                raise KeyboardInterrupt
            signal.raise_signal(number)


def stopped_by(number: int, said: str) -> KeyboardInterrupt | StoppedError:
    """What a run raises that a signal has ended: after SIGINT what Python does, too."""
    said = f"stopped by {signal.Signals(number).name} {said}"
    return KeyboardInterrupt(said) if number == signal.SIGINT else StoppedError(said, 128 + number)
