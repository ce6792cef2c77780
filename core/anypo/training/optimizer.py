"""The optimizer of a run, by the names that transformers has for it, and its learning rate."""

import math
import re
from dataclasses import fields
from inspect import signature
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from anypo.errors import ConfigError, TrainingError, nearest, one_line
from anypo.support.extras import check_installed
from anypo.training.distributed import Distributed
from anypo.training.metrics import Meter
from anypo.training.options import LearnerOptions, OptimizerOptions

PLAIN = "adamw"  # torch's own
SIDE = 512  # of a matrix as small as those of models hardly are


def optimizer_class(options: OptimizerOptions) -> tuple[type[Optimizer], dict[str, Any]]:
    """The class of the optimizer that is asked for, and what transformers' trainer tells it.

    Raises:
        ConfigError: There is none, its package is missing, it needs more than weights and their
            gradients, or it has no weight decay and one is set.
    """
    name = options.optimizer
    plain = torch.optim.AdamW, {"fused": True}  # without copies as large as the model
    kind, arguments = plain if name == PLAIN else _of_transformers(name)
    if hasattr(kind, "train"):  # to be told when it is evaluated
        raise ConfigError(f"optimizer '{name}' wants a training loop of its own: name another one")
    if options.weight_decay and "weight_decay" not in signature(kind).parameters:
        raise ConfigError(f"weight_decay is set, but optimizer '{name}' has none: leave it out")
    return kind, arguments


def make_optimizer(
    config: LearnerOptions, model: nn.Module, critic: nn.Module | None = None
) -> Optimizer:
    """An optimizer of all that is trained, in which norms and biases never decay."""
    kind, arguments = optimizer_class(config)
    groups = _groups(model, config.learning_rate, config.weight_decay)
    if critic is not None:
        groups += _groups(critic, config.critic_learning_rate, config.weight_decay)
    return kind(groups, **arguments)


def remembered_bytes(config: LearnerOptions, dtype: torch.dtype, device: torch.device) -> float:
    """What the optimizer remembers of each weight, in bytes: it is asked to move a small matrix."""
    weight = nn.Parameter(torch.zeros(SIDE, SIDE, dtype=dtype, device=device))
    weight.grad = torch.ones_like(weight)
    kind, arguments = optimizer_class(config)
    optimizer = kind([{"params": [weight], "lr": config.learning_rate}], **arguments)
    optimizer.step()
    remembered = optimizer.state[weight].values()
    return sum(x.nbytes for x in remembered if isinstance(x, Tensor)) / weight.numel()


def make_schedule(optimizer: Optimizer, config: LearnerOptions) -> LambdaLR:
    """The learning rate of every update: it rises, and then goes on as the schedule says."""
    updates_per_step = config.epochs * config.minibatches
    updates, warmup = (n * updates_per_step for n in (config.steps or 1, config.warmup_steps))

    def share(update: int) -> float:
        if update < warmup:
            return update / warmup
        left = max(0.0, (updates - update) / max(1, updates - warmup))
        shares = {"linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2, "constant": 1.0}
        return shares[config.schedule]

    return LambdaLR(optimizer, share)


def clipped(part: nn.Module, limit: float, distributed: Distributed, meter: Meter) -> float:
    """The norm of the gradient of what is trained, which is at most the limit afterwards.

    Raises:
        TrainingError: It is not finite.
    """
    norm = distributed.clip_gradients(part.parameters(), limit)
    if not math.isfinite(norm):  # in all processes: they have the same gradient
        terms = {name: round(x, 4) for name, x in meter.losses(distributed.world).items()}
        error = TrainingError(
            f"the gradient is not finite: loss terms {terms}; lower learning_rate or look at "
            "the rewards"
        )
        error.of_all = True
        raise error
    return norm


def at_update(schedule: LambdaLR, updates: int) -> None:
    """Have a schedule that has not begun go on after so many updates."""
    shares = [share(updates) for share in schedule.lr_lambdas]
    rates = [rate * share for rate, share in zip(schedule.base_lrs, shares, strict=True)]
    for group, rate in zip(schedule.optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    done = {"last_epoch": updates, "_step_count": updates + 1, "_last_lr": rates}
    schedule.load_state_dict(schedule.state_dict() | done)


def _of_transformers(name: str) -> tuple[type[Optimizer], dict[str, Any]]:
    from transformers import Trainer, TrainingArguments  # takes seconds
    from transformers.training_args import OptimizerNames

    known = [PLAIN, *(known.value for known in OptimizerNames)]
    if name not in known:
        raise ConfigError(
            f"there is no optimizer '{name}'{nearest(name, known)} (transformers lists them as "
            "OptimizerNames)"
        )
    # Made, the arguments would set up devices and processes.
    defaults = {field.name: field.default for field in fields(TrainingArguments)}
    arguments: Any = SimpleNamespace(**{**defaults, "optim": name})
    try:
        return Trainer.get_optimizer_cls_and_kwargs(arguments)
    except (ImportError, ValueError) as error:
        if "bitsandbytes" in str(error):
            check_installed("bitsandbytes", f"optimizer '{name}'")
        raise ConfigError(f"optimizer '{name}' cannot be used: {one_line(error)}") from error


def _groups(part: nn.Module, learning_rate: float, weight_decay: float) -> list[dict[str, Any]]:
    groups: dict[float, list[Tensor]] = {}
    for name, weight in part.named_parameters():
        if weight.requires_grad:
            decays = weight.dim() > 1 and not re.search("bias|norm", name.lower())
            groups.setdefault(decays * weight_decay, []).append(weight)
    return [
        {"params": weights, "lr": learning_rate, "weight_decay": decay}
        for decay, weights in groups.items()
    ]
