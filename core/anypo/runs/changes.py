"""What of the code of a run has changed since, when it is repeated from its file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from anypo.composition.algorithm import Algorithm
from anypo.runs.layout import LOCK
from anypo.runs.options import RunConfig
from anypo.runs.provenance import Lock, describe, installed_version


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
    absent = [f"{name} {wanted[name]}" for name in wanted if name and not installed_version(name)]
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
    known, files = _inputs(old), _inputs(new)
    common = known.keys() & files.keys()
    changed = [name for name in sorted(common) if known[name] != files[name]]
    found += [f"{option} '{path}' has changed" for option, path in changed]
    for name in {**old["versions"], **new["versions"]}:
        before, after = (lock["versions"].get(name) or "absent" for lock in (old, new))
        found += [f"{name} is {after}, it was {before}"] if before != after else []
    return list(filter(None, found))


def _inputs(lock: Lock) -> dict[tuple[str, str], str]:
    return {(used["option"], used["path"]): used["sha256"] for used in lock.get("inputs", [])}


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
