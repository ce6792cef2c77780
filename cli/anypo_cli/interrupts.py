"""Ctrl-C while modules are imported, which libraries swallow or take for a mistake."""

from __future__ import annotations

import signal
import threading
from types import FrameType

# How the names of files end whose functions, and what those call, lose an interrupt.
DEAF = ("<frozen importlib._bootstrap>", "pydantic/_internal/_model_construction.py")
PAUSE = 0.05  # seconds until it is looked again whether one of them runs


class Interrupts:
    """Has Ctrl-C in its block wait until what is deaf to it has run; a second one does not.

    Only in the main thread, which alone gets signals, and where nobody else handles them.
    """

    def __init__(self) -> None:
        self._looking: threading.Timer | None = None
        self._is_look = False  # whether the next signal is no Ctrl-C, but asks to look again
        self._is_ours = False

    def __enter__(self) -> Interrupts:
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._notice)
            self._is_ours = True
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._looking:
            self._looking.cancel()
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        if self._looking and kind is None:  # it was to come in a moment
            raise KeyboardInterrupt

    def _notice(self, number: int, frame: FrameType | None) -> None:
        is_first = self._looking is None
        is_look, self._is_look = self._is_look, False
        if not _is_deaf(frame) or not (is_first or is_look):
            raise KeyboardInterrupt
        self._looking = threading.Timer(PAUSE, self._look)
        self._looking.daemon = True
        self._looking.start()

    def _look(self) -> None:
        self._is_look = True
        main = threading.main_thread().ident  # which may wait for something: it has to wake up
        assert main is not None
        signal.pthread_kill(main, signal.SIGINT)


def _is_deaf(frame: FrameType | None) -> bool:
    """Whether what runs there was called by an import, or by what makes a model of pydantic's."""
    while frame is not None:
        if frame.f_code.co_filename.endswith(DEAF):
            return True
        frame = frame.f_back
    return False
