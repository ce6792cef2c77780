"""Which process of a run this is, as a launcher says it before torch is imported."""

from __future__ import annotations

import os
from datetime import timedelta

DEBUG = "--debug"
PATIENCE = timedelta(seconds=10)


def is_launched() -> bool:
    """Whether a launcher started this process as one of several."""
    return "RANK" in os.environ


def is_first() -> bool:
    """Whether this is the process that tells how it goes."""
    return os.environ.get("RANK", "0") == "0"


def tells_first() -> bool:
    """Whether no other process has told why the run ends: one of them does."""
    if int(os.environ.get("WORLD_SIZE") or 1) == 1 or "MASTER_PORT" not in os.environ:
        return True
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    address = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        store = TCPStore(*address, is_master=False, timeout=PATIENCE)
        told: int = store.add(f"anypo/told/{attempt}", 1)
    except (RuntimeError, ValueError):  # the process that keeps it is gone, so somebody told
        return False
    return told == 1
