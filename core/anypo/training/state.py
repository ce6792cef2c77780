"""What a trainer needs to go on where it was, beside the model that it has trained so far.

In a checkpoint it is the folder `training`: tensors as safetensors, numbers as JSON, and what the
plugins remember in a file of torch from which nothing but data is read. All processes save and
load, in the same order; the first one alone writes.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from anypo.errors import SaveError, one_line
from anypo.hooks.remembered import packed, unpacked
from anypo.models.adapters import has_lora
from anypo.models.load import load_model
from anypo.support.saving import Tell, write_on_first
from anypo.support.tensor_files import TensorFiles, tensors_in
from anypo.training.learner import Learner
from anypo.training.optimizer import at_update
from anypo.training.trainer import Trainer

FOLDER, NUMBERS, PLUGINS = "training", "training.json", "plugins.pt"


def save_state(trainer: Trainer, checkpoint: Path) -> None:
    """Write it into a checkpoint that holds the model.

    Raises:
        SaveError: It cannot be written; or a plugin or the optimizer remembers something that could
            not be read again.
    """
    learner, folder = trainer.learner, checkpoint / FOLDER
    world = learner.distributed.world
    write_on_first(world, checkpoint, folder.mkdir)
    files = TensorFiles(folder, world)
    for name, weight in _weights_beside_policy(learner).items():
        files.add(f"weights/{name}", weight)
    told = _save_optimizer(learner, files)
    files.flush()
    numbers = {
        "step": trainer.done,
        "drawn": trainer.prompts.drawn,
        "updates": learner.schedule.last_epoch,
        "processes": world.size,
        "optimizer": told,
    }

    def write() -> None:
        (folder / NUMBERS).write_text(json.dumps(numbers, indent=1), encoding="utf-8")
        (folder / PLUGINS).write_bytes(packed(trainer.state))

    write_on_first(world, checkpoint, write)


def load_state(trainer: Trainer, checkpoint: Path, tell: Tell) -> None:
    """Have a trainer that has not begun go on where the one was that saved it.

    With another number of processes it goes on from there too, but what they draw is not the same:
    that is told.

    Raises:
        SaveError: The checkpoint is that of another run.
    """
    learner, folder = trainer.learner, checkpoint / FOLDER
    numbers = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
    before, now = numbers["processes"], learner.distributed.world.size
    if before != now:
        tell(f"processes were {before} and are {now}: what is drawn at random will be other")
    learner.weights_move()
    with _of_this_run(checkpoint):
        if not has_lora(learner.model):
            _load_policy(learner, checkpoint)
        _load_tensors(learner, folder, set(numbers["optimizer"]["on CPU"]))
        trained = _trained(learner)
        for name, values in numbers["optimizer"]["values"].items():
            learner.optimizer.state[trained[name]].update(values)
    at_update(learner.schedule, numbers["updates"])
    if learner.average is not None:
        learner.average.updates = numbers["updates"]
    device = {"cuda:0": str(learner.runtime.device)}
    trainer.state = unpacked((folder / PLUGINS).read_bytes(), device)
    trainer.prompts.drawn, trainer.done = numbers["drawn"], numbers["step"]
    trainer.sampler.sync(learner.whole())


def _trained(learner: Learner) -> dict[str, nn.Parameter]:
    """What the optimizer moves, under names that are the same whenever the run is set up."""
    parts = {"policy": learner.model, "critic": learner.critic}
    return {
        f"{part}.{name}": weight
        for part, module in parts.items()
        if module is not None
        for name, weight in module.named_parameters()
        if weight.requires_grad
    }


def _weights_beside_policy(learner: Learner) -> dict[str, Tensor]:
    """The weights that change and are not those of the model directory."""
    found: dict[str, Tensor] = {
        name: weight
        for name, weight in _trained(learner).items()
        if has_lora(learner.model) or not name.startswith("policy.")
    }
    found |= learner.compared.moving
    if learner.average is not None:
        averaged = learner.average.weights.items()
        found |= {f"average.{name}": weight for name, weight in averaged}
    return found


@contextmanager
def _of_this_run(checkpoint: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, RuntimeError) as error:  # of names, and of shapes
        raise SaveError(f"'{checkpoint}' is of another run: {one_line(error)}") from error


@torch.no_grad()
def _load_policy(learner: Learner, checkpoint: Path) -> None:
    trusted, scores = learner.runtime.trust_remote_code, not learner.algorithm.generates
    weights = dict(learner.model.named_parameters())
    saved: dict[str, Tensor] = {}  # in the first process, if it hands them out
    with learner.world.agreed():
        if learner.replica is None or learner.world.is_first:
            model = load_model(str(checkpoint), scalar_head=scores, trust_remote_code=trusted)
            named = dict(model.named_parameters())
            saved = {name: named[name].to(weight.dtype) for name, weight in weights.items()}
    for name, weight in weights.items():
        whole = saved.get(name, torch.empty(weight.shape, dtype=weight.dtype))
        weight.copy_(_spread(whole, weight))


@torch.no_grad()
def _load_tensors(learner: Learner, folder: Path, on_cpu: set[str]) -> None:
    """Fill the weights that are not the policy's, and what the optimizer remembers."""
    weights, trained = _weights_beside_policy(learner), _trained(learner)
    for path, tensor in tensors_in(folder):
        kind, name = path.split("/", 1)
        if kind == "weights":
            weight = weights.pop(name)
            weight.copy_(_spread(tensor, weight))
        else:
            key, name = name.split("/", 1)
            value, weight = _spread(tensor, trained[name]), trained[name]
            learner.optimizer.state[weight][key] = (
                value if key in on_cpu else value.to(weight.device)
            )
    if weights:
        raise KeyError(min(weights))


def _save_optimizer(learner: Learner, files: TensorFiles) -> dict[str, Any]:
    """Write the tensors of the optimizer; what else it remembers of each weight is returned."""
    values: dict[str, dict[str, Any]] = {}
    on_cpu = set[str]()
    for name, weight in _trained(learner).items():
        for key, value in learner.optimizer.state.get(weight, {}).items():
            if isinstance(value, Tensor):
                files.add(f"optimizer/{key}/{name}", value)
                on_cpu |= {key} if value.device.type == "cpu" != weight.device.type else set()
            elif value is None or isinstance(value, bool | int | float | str):
                values.setdefault(name, {})[key] = value
            else:
                raise SaveError(
                    f"optimizer '{learner.config.optimizer}' remembers a {type(value).__name__} "
                    f"('{key}'), which no checkpoint can hold: name another optimizer"
                )
    return {"values": values, "on CPU": sorted(on_cpu)}


def _spread(tensor: Tensor, weight: Tensor) -> Tensor:
    """A tensor in shards, if the weight is and it has the weight's shape."""
    mesh: Any = getattr(weight, "device_mesh", None)
    if mesh is None or tensor.shape != weight.shape:
        return tensor
    from torch.distributed.tensor import distribute_tensor

    placements: Any = getattr(weight, "placements", None)
    return distribute_tensor(tensor.to(weight.device), mesh, placements)
