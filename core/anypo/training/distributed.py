"""Devices, precision and processes. The only file that knows accelerate."""

from collections.abc import Iterable
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from torch import Tensor

from anypo.errors import ConfigError
from anypo.hooks.runtime import Runtime
from anypo.models.options import RuntimeOptions
from anypo.support.world import World


class Distributed:
    """Where a run trains: one process so far.

    Raises:
        ConfigError: The device is not there, or several processes were started.
    """

    def __init__(self, options: RuntimeOptions) -> None:
        if options.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("device 'cuda' is asked for, but this machine has no usable GPU")
        on_gpu = torch.cuda.is_available() and options.device != "cpu"
        dtype = ("bfloat16" if on_gpu else "float32") if options.dtype == "auto" else options.dtype
        # Otherwise a second run of the same process could not choose another device or precision.
        AcceleratorState._reset_state(reset_partial_state=True)
        precision = "bf16" if dtype == "bfloat16" else "no"
        self.accelerator = Accelerator(cpu=not on_gpu, mixed_precision=precision)
        if self.accelerator.num_processes > 1:
            raise ConfigError(
                f"started with {self.accelerator.num_processes} processes, but training on several "
                "is not supported yet; start one"
            )
        self.world = World(self.accelerator.process_index, self.accelerator.num_processes)
        device, budget = self.accelerator.device, options.token_budget
        self.runtime = Runtime(device, getattr(torch, dtype), budget, options.trust_remote_code)

    def seed(self, seed: int) -> None:
        """Seed everything that draws: Python, NumPy, torch on all devices."""
        set_seed(seed % 2**32)  # all that NumPy takes
        torch.manual_seed(seed)

    def prepare(self, *parts: Any) -> Any:
        """The parts of a training step (models, optimizer), made fit for the device."""
        return self.accelerator.prepare(*parts)

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss."""
        self.accelerator.backward(loss)

    def clip_gradients(self, parameters: Iterable[Tensor], norm: float) -> float:
        """Clip the gradients to a norm; what it was before."""
        return float(self.accelerator.clip_grad_norm_(parameters, norm))
