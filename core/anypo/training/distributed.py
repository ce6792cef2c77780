"""Devices, precision and processes. The only file that knows accelerate."""

import os
from collections import Counter
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from torch import Tensor, nn

from anypo.errors import ConfigError
from anypo.hooks.runtime import Runtime
from anypo.models.checks import leaves_weights_out
from anypo.models.forward import TokenScorer
from anypo.models.options import RuntimeOptions
from anypo.support.world import World
from anypo.training.handout import Handout

PATIENCE = timedelta(minutes=30)  # that a process waits for another, which may be sampling


class Distributed:
    """Where a run trains, and in how many processes.

    Raises:
        ConfigError: The device is not there, or other processes were started than asked for.
    """

    def __init__(self, options: RuntimeOptions) -> None:
        if options.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError("device 'cuda' is asked for, but this machine has no usable GPU")
        _check_launch(options.processes)
        on_gpu = torch.cuda.is_available() and options.device != "cpu"
        dtype = ("bfloat16" if on_gpu else "float32") if options.dtype == "auto" else options.dtype
        # Otherwise a second run of the same process could not choose another device or precision.
        AcceleratorState._reset_state(reset_partial_state=True)
        self.summing = DistributedDataParallelKwargs(gradient_as_bucket_view=True)
        self.accelerator = Accelerator(
            cpu=not on_gpu,
            mixed_precision="bf16" if dtype == "bfloat16" else "no",
            kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE), self.summing],
        )
        self.world = World(self.accelerator.process_index, self.accelerator.num_processes)
        self.shards = options.sharding == "fsdp"
        self._check_started()
        device, budget = self.accelerator.device, options.token_budget
        self.runtime = Runtime(device, getattr(torch, dtype), budget, options.trust_remote_code)

    def _check_started(self) -> None:
        """Launchers may start something else than what they were asked for, and say nothing."""
        wanted, kind = _size_told(), self.accelerator.distributed_type.value
        if self.world.size != wanted:
            raise ConfigError(
                f"{wanted} processes were started, but each would train alone: start them with "
                "torchrun, or with anypo run --processes"
            )
        if self.shards and wanted == 1:
            raise ConfigError(
                "sharding is set, but there is one process, which has nobody to share with: set "
                "processes too (--processes)"
            )
        if kind not in ("NO", "MULTI_CPU", "MULTI_GPU"):
            raise ConfigError(
                f"the launcher asks for {kind}, which anypo sets up itself: leave it out, and say "
                "--sharding"
            )

    def seed(self, seed: int) -> None:
        """Seed everything that draws: Python, NumPy, torch on all devices."""
        set_seed(seed % 2**32)  # all that NumPy takes
        torch.manual_seed(seed)

    def prepare(self, scorer: TokenScorer) -> Any:
        """What is trained whole in every process, with its gradients added up over them."""
        if self.world.size > 1:
            # To look for them in every pass takes time; not to, where there are some, is wrong.
            self.summing.find_unused_parameters = leaves_weights_out(scorer, self.runtime.device)
        return self.accelerator.prepare(scorer)

    def shard(
        self, scorer: TokenScorer, whole: nn.Module | None, body: nn.Module | None = None
    ) -> TokenScorer:
        """Leave to each process its part of the weights, which are handed out: FSDP2.

        Where they are computed with, and here, no more is whole than a layer at a time.

        Args:
            scorer: Without weights.
            whole: A model like its own with weights; None but in the first process.
            body: The same for the body that its critic has of its own.
        """
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

        origins: dict[nn.Module, nn.Module | None] = {scorer.model: whole}
        if scorer.critic is not None and scorer.critic.body is not None:
            origins[scorer.critic.body] = body
        handout = Handout(self.world, self.runtime.device, origins)
        mesh = init_device_mesh(self.runtime.device.type, (self.world.size,))
        for module in [*_layers_of(scorer), scorer]:
            handout.fill(module)
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
        register_fsdp_forward_method(scorer, "asked")
        scorer.find_making()
        return scorer

    def adding_up(self, scorer: Any, *, more: bool) -> AbstractContextManager[None]:
        """A forward and a backward pass, after which there are `more` before gradients are read."""
        return self.accelerator.no_sync(scorer) if more and not self.shards else nullcontext()

    def backward(self, loss: Tensor) -> None:
        """Add the gradient of a loss, which is a sum over the processes."""
        (loss * self.world.size).backward()  # gradients are averaged

    def clip_gradients(self, parameters: Iterable[Tensor], norm: float) -> float:
        """Clip the gradients to a norm; what it was before."""
        found = nn.utils.clip_grad_norm_(parameters, norm)
        return float(found.full_tensor() if hasattr(found, "full_tensor") else found)


def _layers_of(scorer: nn.Module) -> list[nn.Module]:
    """Those that transformers says must stay in one piece, and that share no weight with others."""
    names = {
        name
        for module in scorer.modules()
        for name in getattr(module, "_no_split_modules", None) or ()
    }
    uses = _uses(scorer)
    return [
        module
        for module in scorer.modules()
        if type(module).__name__ in names
        and all(uses[weight] == number for weight, number in _uses(module).items())
    ]


def _uses(module: nn.Module) -> Counter[nn.Parameter]:
    """How often each weight is in a module."""
    return Counter(weight for _, weight in module.named_parameters(remove_duplicate=False))


def _size_told() -> int:
    return int(os.environ.get("WORLD_SIZE") or 1)


def _check_launch(asked: int | None) -> None:
    """Refuse to wait for processes that nobody started."""
    told = _size_told()
    if told > 1 and "RANK" not in os.environ and not dist.is_initialized():
        raise ConfigError(
            f"WORLD_SIZE is {told} in the environment, but no launcher says which process this is: "
            "unset it, or start with torchrun"
        )
    if asked is not None and asked != told:
        how = f"torchrun --nproc-per-node {asked} -m anypo_cli run ..."
        raise ConfigError(
            f"{asked} processes are asked for, but {told} started: use anypo run --processes "
            f"{asked}, or {how}"
        )
