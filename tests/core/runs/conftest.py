"""A sampler of a third party, and another process that has a run directory."""

import subprocess
import sys
from contextlib import contextmanager

import pytest

ECHO = """
from anypo import SamplerPlugin
from pydantic import Field


class Echo(SamplerPlugin):
    \"\"\"It says the same again.\"\"\"

    volume: float = Field(1.0, gt=0, description="How loud.")
    mode: str = Field("hall", description="Where.")

    def unread(self):
        return {} if self.volume > 1 else {"mode": "echo_volume is low, so nothing would read it"}

    def start(self, model, runtime, max_length):
        raise NotImplementedError
"""


@pytest.fixture
def echo(install):
    """A sampler of a third party, with options."""
    others = {"anypo.samplers": {"echo": "echo_module:Echo"}}
    install("anypo-echo", {}, {"echo_module.py": ECHO}, others=others)


HOLD = """
import fcntl, sys

with open(sys.argv[1] + "/.in-use", "w") as file:
    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    print(flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def in_use():
    """Has another process use a run directory in a block; an error if one does already."""

    @contextmanager
    def in_use(folder):
        command = [sys.executable, "-S", "-c", HOLD, str(folder)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        with subprocess.Popen(command, **pipes) as process:
            if not process.stdout.readline():
                raise BlockingIOError(process.stderr.read())
            yield process

    return in_use
