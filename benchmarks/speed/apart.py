"""Run something in a process of its own, so that its memory can be told."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import warnings
from concurrent.futures import ProcessPoolExecutor
from pkgutil import resolve_name
from typing import Any

import torch


def apart(function: str, *arguments: Any) -> Any:
    """What `module:function` returns in a fresh and quiet process, which alone imports it."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_called, function, arguments).result()


def _called(function: str, arguments: tuple[Any, ...]) -> Any:
    _be_quiet()
    return resolve_name(function)(*arguments)


def _be_quiet() -> None:
    """Say nothing but errors."""
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"
    from transformers.utils.logging import disable_progress_bar, set_verbosity_error

    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    disable_progress_bar()
    set_verbosity_error()


def peak_memory() -> float:
    """GiB that this process took at most: of the GPU if there is one, else of the machine."""
    if torch.cuda.is_available():  # vLLM and the trainer share torch's allocator in one process
        return torch.cuda.max_memory_reserved() / 2**30
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def machine() -> str:
    """What was measured on."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
