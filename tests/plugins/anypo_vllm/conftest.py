"""Fixtures of the tests of vLLM: a server."""

import os
import re
import signal
import socket
import subprocess
import time
from contextlib import suppress

import httpx2
import pytest
import torch

from anypo_vllm.addresses import KEY, authorization
from anypo_vllm.serve import serve_command


class ServerProcess:
    """A vLLM server on a free port of this machine, which can be killed and started again."""

    def __init__(self, model_dir, log):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.model_dir, self.log = model_dir, log

    def start(self):
        command, settings = serve_command(
            self.model_dir,
            host="127.0.0.1",
            port=self.port,
            on_cpu=not torch.cuda.is_available(),
            dtype=os.environ.get("ANYPO_TEST_DTYPE"),
            memory=0.3,
            max_length=512,
            has_key=True,
        )
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                command,
                env={**os.environ, **settings},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + 180
        while not self._answers():
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            assert time.monotonic() < end, self.log.read_text()[-2000:]
            time.sleep(0.5)

    def stop_once_it_samples(self):
        """Ask it to stop, as soon as it is at work on a completion."""
        while not self._samples():
            time.sleep(0.2)
        self.process.terminate()

    def kill(self):
        """Kill the server and its own children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _samples(self):
        metrics = httpx2.get(f"{self.url}/metrics", headers=authorization()).text
        return re.search(r"^vllm:num_requests_running\{.*\} [1-9]", metrics, re.MULTILINE)

    def _answers(self):
        try:
            return httpx2.get(f"{self.url}/health", timeout=2).status_code == 200
        except httpx2.TransportError:
            return False


@pytest.fixture(scope="session")
def vllm_server(model_dir, tmp_path_factory):
    """A running server of a model such as the built-in one, with a key that this process knows."""
    pytest.importorskip("vllm")
    server = ServerProcess(model_dir, tmp_path_factory.mktemp("vllm") / "server.log")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(KEY, "geheim")
        server.start()
        yield server
    server.kill()
