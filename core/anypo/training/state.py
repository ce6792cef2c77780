"""What a trainer needs to go on where it was, beside the model that it has trained so far.

In a checkpoint it is the folder `training`: tensors as safetensors, numbers as JSON, and what the
plugins remember in a file of torch from which nothing but data is read. All processes save and
load, in the same order; the first one alone writes.
"""

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from anypo.errors import SaveError, one_line
from anypo.hooks.batch import Batch, Completion, Prompt, Sample
from anypo.hooks.specs import State
from anypo.models.adapters import has_lora
from anypo.models.load import load_model
from anypo.support.saving import Tell, write_on_first
from anypo.support.world import World
from anypo.training.learner import Learner
from anypo.training.optimizer import at_update
from anypo.training.trainer import Trainer

FOLDER, NUMBERS, PLUGINS = "training", "training.json", "plugins.pt"
LARGEST_FILE = 2**30  # bytes of tensors that are gathered before they are written
KEEPABLE = "numbers, texts, lists, dicts, sets, tensors, prompts and samples"


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
    with _of_this_run(checkpoint):
        if not has_lora(learner.model):
            _load_policy(learner, checkpoint)
        _load_tensors(learner, folder, set(numbers["optimizer"]["on CPU"]))
        trained = _trained(learner)
        for name, values in numbers["optimizer"]["values"].items():
            learner.optimizer.state[trained[name]].update(values)
    at_update(learner.schedule, numbers["updates"])
    device = {"cuda:0": str(learner.runtime.device)}
    trainer.state = unpacked((folder / PLUGINS).read_bytes(), device)
    trainer.prompts.drawn, trainer.done = numbers["drawn"], numbers["step"]
    trainer.sampler.sync(learner.whole())


def packed(state: State) -> bytes:
    """What plugins remember, as bytes.

    Raises:
        SaveError: It could not be read again; naming the key, and what can be kept.
    """
    for key, value in state.items():
        try:
            unpacked(_pickled({key: value}))
        except Exception as error:
            raise SaveError(
                f"a plugin keeps a {type(value).__name__} in state['{key}'] that no checkpoint "
                f"can hold: {KEEPABLE} can be kept there"
            ) from error
    return _pickled(state)


def unpacked(data: bytes, device: dict[str, str] | None = None) -> State:
    """What plugins remembered; no code of the file is run."""
    with torch.serialization.safe_globals([Batch, Completion, Prompt, Sample]):
        state: State = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    return state


class TensorFiles:
    """Numbered files of tensors, which are put together from their shards one at a time."""

    def __init__(self, folder: Path, world: World) -> None:
        self.folder, self.world = folder, world
        self.held: dict[str, Tensor] = {}
        self.bytes = self.number = 0

    def add(self, name: str, tensor: Tensor) -> None:
        """Write it, now or later."""
        whole = tensor.detach()
        whole = whole.full_tensor() if hasattr(whole, "full_tensor") else whole
        if type(whole) not in (Tensor, nn.Parameter):
            raise SaveError(f"'{name}' is a {type(whole).__name__}, which no checkpoint can hold")
        if self.world.is_first:
            self.held[name] = whole.to("cpu", copy=True).contiguous()
        self.bytes += whole.nbytes
        if self.bytes >= LARGEST_FILE:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        self.number += 1
        path = self.folder / f"tensors-{self.number:05d}.safetensors"
        write_on_first(self.world, path, lambda: save_file(self.held, path))
        self.held, self.bytes = {}, 0


def _tensors(folder: Path) -> Iterator[tuple[str, Tensor]]:
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in sorted(file.keys()):
                yield name, file.get_tensor(name)


def _pickled(state: State) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


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


def _weights_beside_policy(learner: Learner) -> dict[str, nn.Parameter]:
    """The weights that change and are not those of the model directory."""
    found = {
        name: weight
        for name, weight in _trained(learner).items()
        if has_lora(learner.model) or not name.startswith("policy.")
    }
    if learner.reference is not None and learner.config.ref_sync_every is not None:
        named = learner.reference.named_parameters()
        found |= {f"reference.{name}": weight for name, weight in named}
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
    model = load_model(str(checkpoint), scalar_head=scores, trust_remote_code=trusted)
    saved = dict(model.named_parameters())
    for name, weight in learner.model.named_parameters():
        weight.copy_(_spread(saved[name], weight))


@torch.no_grad()
def _load_tensors(learner: Learner, folder: Path, on_cpu: set[str]) -> None:
    """Fill the weights that are not the policy's, and what the optimizer remembers."""
    weights, trained = _weights_beside_policy(learner), _trained(learner)
    for path, tensor in _tensors(folder):
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
                on_cpu |= {key} if value.device.type == "cpu" else set()
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
