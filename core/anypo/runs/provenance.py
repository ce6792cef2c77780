"""Which code a run was made with."""

import hashlib
import inspect
import json
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from anypo.composition.algorithm import Algorithm
from anypo.composition.stack import Layer
from anypo.data.mixture import parts_of
from anypo.data.named import named_sets
from anypo.hooks import registry
from anypo.hooks.version import HOOK_API_VERSION
from anypo.rewards.load import installed_reward
from anypo.runs.layout import LOCK
from anypo.runs.options import RunConfig
from anypo.support.saving import write_file

LIBRARIES = ("anypo", "torch", "transformers", "accelerate", "pluggy", "pydantic")

PIECE, PIECES = 2**20, 64  # bytes that are read at a time of a file, and how often at most

Lock = dict[str, Any]


def describe(algorithm: Algorithm, config: RunConfig | None = None) -> Lock:
    """The plugins of a stack, bottom first, and the versions of what they run on.

    `explained` is what the stack does, as `anypo explain --json` prints it. With the options of a
    run, also the sampler, rewards and task that they name, and the files of model, data and
    rewards.
    """
    libraries = {name: installed_version(name) for name in LIBRARIES}
    python = platform.python_version()
    return {
        "algorithm": algorithm.name,
        "versions": {"python": python, **libraries, "hook API": HOOK_API_VERSION},
        "plugins": [_plugin(i, layer, algorithm) for i, layer in enumerate(algorithm.layers)],
        "explained": algorithm.explain().as_dict(),
        "used": [_used(entry) for entry in _named(config)] if config else [],
        "inputs": list(_inputs(config)) if config else [],
    }


def write_lock(folder: Path, lock: Mapping[str, Any]) -> None:
    """Write it down in a folder."""
    text = json.dumps(lock, indent=2, ensure_ascii=False, default=str)
    write_file(folder / LOCK, text + "\n")


def _plugin(position: int, layer: Layer, algorithm: Algorithm) -> dict[str, Any]:
    owner, qualified = layer.owner, getattr(layer.definition, "__qualname__", "")
    return {
        "position": position,
        "name": layer.name,
        "distribution": owner.distribution if owner else None,
        "version": owner.version if owner else None,
        "class": f"{layer.module}:{qualified}".rstrip(":"),
        "sha256": _sha256(layer.definition),
        "stage": layer.stage,  # the only one taken from it; null: all that it answers
        "knobs": {name: algorithm.knobs[name].value for name in layer.fields},
        **({} if owner else {"note": "of no installed distribution"}),
    }


def _named(config: RunConfig) -> list[registry.Entry]:
    """The plugins that options name."""
    rewards = [found.entry for spec in config.reward if (found := installed_reward(spec))]
    needs_task = config.model is None or config.data is None
    task = [registry.find(config.task, "task")] if needs_task else []
    talks = config.environment if registry.knows(config.environment or "", "environment") else None
    environment = [registry.find(talks, "environment")] if talks else []
    return [registry.find(config.sampler, "sampler"), *rewards, *task, *environment]


def _used(entry: registry.Entry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "name": entry.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "class": entry.entry_point.value,
        "sha256": _sha256(entry.load()),
    }


def _inputs(config: RunConfig) -> Iterator[dict[str, Any]]:
    """The files and folders that options name."""
    named = [("model", config.model), ("critic_model", config.critic_model)]
    named += config.others.items()
    named += [("data", part.name) for part in parts_of(config.data or [])]
    named += [("eval_data", source) for source in named_sets(config.eval_data).values()]
    named += [("reward", spec) for spec in config.reward]
    named += [("environment", config.environment)]
    for option, name in named:
        paths = Path(name or ""), Path((name or "").rpartition(":")[0])  # file.py:function
        path = next((path for path in paths if path.name and path.exists()), None)
        if path is not None:
            yield {"option": option, "path": str(path), "sha256": fingerprint(path)}


def fingerprint(path: Path) -> str:
    """The SHA-256 of a file, or of all in a folder; of large files, that of pieces of them."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(path.rglob("*")):
        if file.is_file():
            size = file.stat().st_size
            digest.update(f"{file.relative_to(path)} {size}".encode())
            with file.open("rb") as content:
                for at in range(0, size, max(PIECE, size // PIECES)):
                    content.seek(at)
                    digest.update(content.read(PIECE))
    return digest.hexdigest()


def _sha256(definition: Any) -> str | None:
    """Of the file; None where there is none, as in an interactive session."""
    try:
        return hashlib.sha256(Path(inspect.getfile(definition)).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return None


def installed_version(distribution: str) -> str | None:
    """Of a distribution; None if it is not there."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
