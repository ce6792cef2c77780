"""Run a command in several processes on this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from anypo.errors import ConfigError
from anypo_cli.processes import DEBUG, PARENT

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
GRACE = 30.0  # seconds that the others have when one has failed, and then when they are told to end
SAVING = 1800.0  # that the first one has, which saves the model
LOOK_EVERY = 0.1  # seconds


def launch(processes: int, arguments: Sequence[str]) -> int:
    """Run the command line in so many processes; the status of the one that ended first.

    They meet at a store in this process. Signals come to them through it alone, each once, so that
    they can write down what they have; those that outlive a failure by long are ended.
    """
    refuse_too_many(processes)
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shown = [option for option in sys.argv if option == DEBUG]
    command = [sys.executable, "-m", "anypo_cli", *arguments, *shown]
    with ExitStack() as stack:
        started = [
            subprocess.Popen(
                command, env=_environment(rank, processes, store.port), process_group=0
            )
            for rank in range(processes)
        ]
        stack.callback(_end, started)
        stack.enter_context(_passing_on(started))
        return _first_status(started)


def refuse_too_many(processes: int) -> None:
    """Raise ConfigError if there are GPUs, but not one for each process."""
    if 0 < torch.cuda.device_count() < processes:
        raise ConfigError(
            f"{processes} processes are asked for, but this machine has "
            f"{torch.cuda.device_count()} GPUs: start those of several machines with torchrun"
        )


def _environment(rank: int, processes: int, port: int) -> dict[str, str]:
    cores = max(1, (os.cpu_count() or 1) // processes)
    return {
        PARENT: str(os.getpid()),
        "OMP_NUM_THREADS": str(cores),
        "PYTHONHASHSEED": "0",  # sets of texts have one order in all of them
        **os.environ,
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",  # the store is here, in none of them
    }


@contextmanager
def _passing_on(started: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    def pass_on(number: int, _: Any) -> None:
        for process in started:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _first_status(started: Sequence[subprocess.Popen[bytes]]) -> int:
    """Wait until all have ended, or for a while after one has failed."""
    failed, since = 0, float("inf")
    while any(process.poll() is None for process in started):
        time.sleep(LOOK_EVERY)
        statuses = [process.poll() for process in started]
        if not failed and (failed := next(filter(None, statuses), 0)):
            since = time.monotonic()
        if time.monotonic() > since + (SAVING if statuses[0] is None else GRACE):
            break
    failed = failed or next(filter(None, (process.poll() for process in started)), 0)
    return failed if failed >= 0 else 128 - failed  # as shells say that a signal ended it


def _end(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """End those that still run."""
    for end in (subprocess.Popen.terminate, subprocess.Popen.kill):
        for process in started:
            if process.poll() is None:
                end(process)
        limit = time.monotonic() + GRACE
        while any(process.poll() is None for process in started) and time.monotonic() < limit:
            time.sleep(LOOK_EVERY)
