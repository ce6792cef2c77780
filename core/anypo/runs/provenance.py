"""Which code a run was made with, and what of it has changed since."""

from __future__ import annotations

import hashlib
import inspect
import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anypo.hooks import registry
from anypo.hooks.version import HOOK_API_VERSION
from anypo.rewards.load import installed_reward

if TYPE_CHECKING:
    from anypo.composition.algorithm import Algorithm
    from anypo.composition.stack import Layer
    from anypo.runs.options import RunConfig

LOCK = "plugins.lock.json"
LIBRARIES = ("anypo", "torch", "transformers", "accelerate", "pluggy", "pydantic")

Lock = dict[str, Any]


def describe(algorithm: Algorithm, config: RunConfig | None = None) -> Lock:
    """The plugins of a stack, bottom first, and the versions of what they run on.

    With the options of a run, also the sampler, rewards and task that they name.
    """
    libraries = {name: _version(name) for name in LIBRARIES}
    python = platform.python_version()
    return {
        "algorithm": algorithm.name,
        "versions": {"python": python, **libraries, "hook API": HOOK_API_VERSION},
        "plugins": [_plugin(i, layer, algorithm) for i, layer in enumerate(algorithm.layers)],
        "used": [_used(entry) for entry in _named(config)] if config else [],
    }


def write_lock(folder: Path, lock: Mapping[str, Any]) -> None:
    """Write it down in a folder."""
    text = json.dumps(lock, indent=2, ensure_ascii=False, default=str)
    (folder / LOCK).write_text(text + "\n", encoding="utf-8")


def changes(file: str, algorithm: Algorithm, config: RunConfig) -> list[str]:
    """What has changed since the run whose config.toml this is; nothing if it left no lock."""
    path = Path(file).with_name(LOCK)
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        found = differences(old, describe(algorithm, config))
        return [f"since '{path.parent}': {text}" for text in found]
    except FileNotFoundError:
        return []
    except Exception as error:  # a damaged file must not stop the run
        return [f"'{path}' is damaged, so what changed since is not known: {error!r}"]


def uninstalled(config: str) -> str:
    """What to install to repeat the run whose config.toml this is, as part of a sentence."""
    path = Path(config).with_name(LOCK)
    try:
        lock = json.loads(path.read_text(encoding="utf-8"))
        plugins = [*lock["plugins"], *lock.get("used", [])]
        wanted = {plugin["distribution"]: plugin["version"] for plugin in plugins}
    except Exception:  # that it cannot be told is not what is wrong
        return ""
    absent = [f"{name} {wanted[name]}" for name in wanted if name and not _version(name)]
    return f"; '{path.parent}' was made with {' and '.join(absent)}" if absent else ""


def differences(old: Lock, new: Lock) -> list[str]:
    """What is other code now, a sentence each; knobs are the user's to change."""
    was, now = ({_label(plugin): plugin for plugin in lock["plugins"]} for lock in (old, new))
    found = [_change(was[name], now[name]) for name in now if name in was]
    if old["algorithm"] == new["algorithm"]:  # the stack of another may well be another
        found += [f"{_title(was[name])} is not there any more" for name in was if name not in now]
        found += [f"{_title(now[name])} is new in the stack" for name in now if name not in was]
        if was.keys() == now.keys() and list(was) != list(now):
            found.append(f"the stack is {' + '.join(now)}, it was {' + '.join(was)}")
    used, using = ({(u["kind"], u["name"]): u for u in lock.get("used", [])} for lock in (old, new))
    found += [_change(used[name], using[name]) for name in using if name in used]
    for name in {**old["versions"], **new["versions"]}:
        before, after = (lock["versions"].get(name) or "absent" for lock in (old, new))
        found += [f"{name} is {after}, it was {before}"] if before != after else []
    return list(filter(None, found))


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
    rewards = [found[0] for spec in config.reward if (found := installed_reward(spec))]
    needs_task = config.model is None or config.data is None
    task = [registry.find(config.task, "task")] if needs_task else []
    return [registry.find(config.sampler, "sampler"), *rewards, *task]


def _used(entry: registry.Entry) -> dict[str, Any]:
    return {
        "kind": entry.kind,
        "name": entry.name,
        "distribution": entry.distribution,
        "version": entry.version,
        "class": entry.entry_point.value,
        "sha256": _sha256(entry.load()),
    }


def _sha256(definition: Any) -> str | None:
    """Of the file; None where there is none, as in an interactive session."""
    try:
        return hashlib.sha256(Path(inspect.getfile(definition)).read_bytes()).hexdigest()
    except (OSError, TypeError):
        return None


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _label(plugin: Mapping[str, Any]) -> str:
    return ".".join(filter(None, (plugin["name"], plugin.get("stage"))))


def _title(plugin: Mapping[str, Any]) -> str:
    return f"{plugin.get('kind', 'plugin')} '{_label(plugin)}' of {_origin(plugin)}"


def _origin(plugin: Mapping[str, Any]) -> str:
    if plugin["distribution"] is None:
        return f"no distribution ({plugin['class']})"
    return f"{plugin['distribution']} {plugin['version']}"


def _change(was: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """How the code of one plugin differs; nothing if it does not."""
    parts = []
    if _origin(was) != _origin(now):
        parts.append(f"it was of {_origin(was)}")
    if was["class"] != now["class"]:
        parts.append(f"its class was {was['class']}")
    if was["sha256"] != now["sha256"]:
        parts.append(f"the file that defines it has changed (sha256 was {was['sha256']!s:.12})")
    return f"{_title(now)}: {', '.join(parts)}" if parts else ""
