"""`anypo serve`: become a vLLM server that takes weights from a run."""

from __future__ import annotations

import os
from typing import Any

import torch

from anypo.models.load import model_path
from anypo.support.extras import WITHOUT_GPU, check_installed
from anypo_vllm.serve import serve_command


def become_server(model: str, **options: Any) -> None:
    """Replace this process by the server; variables of the environment that are set stay.

    Raises:
        ConfigError: vLLM is not installed.
    """
    check_installed("vllm", "serving", WITHOUT_GPU)
    on_cpu = not torch.cuda.is_available()
    command, settings = serve_command(model_path(model), on_cpu=on_cpu, **options)
    os.execve(command[0], command, {**settings, **os.environ})
