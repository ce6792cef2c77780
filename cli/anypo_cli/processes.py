"""Which process of a run this is, as a launcher says it before torch is imported."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
from datetime import timedelta

DEBUG = "--debug"
PARENT = "ANYPO_PARENT"  # the variable with the number of the process that started this one
PATIENCE = timedelta(seconds=10)


def is_launched() -> bool:
    """Whether a launcher started this process as one of several."""
    return "RANK" in os.environ


def is_first() -> bool:
    """Whether this is the process that tells how it goes."""
    return os.environ.get("RANK", "0") == "0"


def end_with_parent() -> None:
    """Be told to end when the process that started this one is gone, whatever ended it."""
    parent = os.environ.pop(PARENT, None)
    if parent is None or sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG
    if os.getppid() != int(parent):
        sys.exit(1)


def tells_first() -> bool:
    """Whether no other process has told why the run ends: one of them does."""
    if int(os.environ.get("WORLD_SIZE") or 1) == 1 or "MASTER_PORT" not in os.environ:
        return True
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        socket.create_connection(address, timeout=1).close()  # which fails without a word
        store = TCPStore(*address, is_master=False, timeout=PATIENCE)
        told: int = store.add(f"anypo/told/{attempt}", 1)
    except (OSError, RuntimeError, ValueError):  # who keeps it has not begun, or is gone
        return is_first()
    return told == 1
