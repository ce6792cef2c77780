"""In what runs differ: their options and knobs, and the code that they ran."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anypo import RunRecord

ABSENT = "-"
ABBREVIATED = 12  # characters of a SHA-256


@dataclass(frozen=True)
class Row:
    """A setting, and its value in every run."""

    name: str
    values: list[str]

    @property
    def differs(self) -> bool:
        """Whether the runs do not all have the same."""
        return len(set(self.values)) > 1


def settings(runs: Sequence[RunRecord]) -> list[Row]:
    """Algorithm, run options and knobs."""
    return _rows([_flat(run.config) for run in runs])


def versions(runs: Sequence[RunRecord]) -> list[Row]:
    """Which plugins and libraries ran."""
    return _rows([_code(run.lock) for run in runs])


def _rows(columns: Sequence[Mapping[str, Any]]) -> list[Row]:
    names = dict.fromkeys(name for column in columns for name in column)
    return [Row(name, [str(c[name]) if name in c else ABSENT for c in columns]) for name in names]


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    knobs = {f"knobs.{name}": value for name, value in config["knobs"].items()}
    hooks = {f"hooks.{name}": value for name, value in config["hooks"].items()}
    return {k: v for k, v in config.items() if k not in ("knobs", "hooks")} | knobs | hooks


def _code(lock: Mapping[str, Any]) -> dict[str, str]:
    found = {name: value or "absent" for name, value in lock.get("versions", {}).items()}
    for plugin in [*lock.get("plugins", []), *lock.get("used", [])]:
        owner = f"{plugin['distribution'] or 'no distribution'} {plugin['version'] or ''}".strip()
        kind = plugin.get("kind", "algorithm")
        found[f"{kind} {plugin['name']}"] = f"{owner}, {plugin['sha256']!s:.{ABBREVIATED}}"
    for used in lock.get("inputs", []):
        found[f"{used['option']} {used['path']}"] = f"{used['sha256']!s:.{ABBREVIATED}}"
    return found
