"""Find plugins by name among the installed distributions. Standard library only.

A plugin is an entry point of the group `anypo`. It is imported when it is named, not before, so a
broken one hurts nobody else and installing one runs none of its code.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from anypo.errors import PluginError, nearest

GROUP = "anypo"


@dataclass(frozen=True)
class Entry:
    """One plugin that some distribution offers."""

    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    def load(self) -> Any:
        """Import the plugin.

        Raises:
            PluginError: It does not import; the message names its distribution and the cause.
        """
        try:
            return self.entry_point.load()
        except (Exception, SystemExit) as error:
            raise PluginError(
                f"plugin '{self.name}' of {self.distribution} {self.version} is broken: "
                f"{type(error).__name__}: {error}"
            ) from error

    def summary(self) -> str:
        """The first line of the plugin's docstring, read from its source and not by running it.

        Raises:
            PluginError: As far as can be told without running it, the plugin does not import.
        """
        try:
            return _summary(_source(self.entry_point.module), self.entry_point.attr)
        except Exception as error:
            raise PluginError(f"{type(error).__name__}: {error}") from error


@cache
def entries() -> tuple[Entry, ...]:
    """Every plugin installed, sorted by name; two distributions may offer the same name."""
    found: dict[tuple[str, str], Entry] = {}
    for dist in distributions():  # in the order of sys.path: the first is the one imported
        for point in _points(dist):
            entry = Entry(point.name, dist.name, dist.version, point)
            found.setdefault((point.name, dist.name), entry)
    return tuple(sorted(found.values(), key=lambda entry: (entry.name, entry.distribution)))


def find(name: str) -> Entry:
    """The entry called `name`, or `DISTRIBUTION:NAME`; `-` and `_` are the same.

    Raises:
        PluginError: No plugin has that name, or several distributions offer it.
    """
    wanted, distribution = _normal(name.rpartition(":")[2]), name.rpartition(":")[0]
    same_name = [entry for entry in entries() if _normal(entry.name) == wanted]
    matches = [e for e in same_name if _normal(distribution) in ("", _normal(e.distribution))]
    if len(matches) == 1:
        return matches[0]
    if not matches:
        names = [f"{e.distribution}:{e.name}" for e in same_name] or [e.name for e in entries()]
        raise PluginError(f"there is no plugin '{name}'{nearest(name, names)}")
    offers = " and ".join(f"{e.distribution} {e.version}" for e in matches)
    choices = " or ".join(f"'{e.distribution}:{e.name}'" for e in matches)
    raise PluginError(f"plugin '{name}' is offered by {offers}; choose with {choices}")


def load(name: str) -> Any:
    """Import the plugin called `name`. Raises PluginError like `find` and `Entry.load`."""
    return find(name).load()


def _points(dist: Distribution) -> list[EntryPoint]:
    try:
        points = [point for point in dist.entry_points if point.group == GROUP]
        return points if dist.name else []
    except Exception:  # the metadata of some distribution is damaged: the others still count
        return []


def _normal(name: str) -> str:
    return name.replace("-", "_").lower()


@cache
def _importable(module: str) -> bool:
    return find_spec(module) is not None


def _source(module: str) -> str:
    # find_spec would import the parents of a dotted name, so walk down from the top by path.
    top, *rest = module.split(".")
    spec = find_spec(top)
    if spec is None:
        raise ModuleNotFoundError(f"no module named '{top}'")
    places = list(spec.submodule_search_locations or [])
    path = Path(spec.origin) if spec.origin else Path(places[0], "__init__.py")
    for part in rest:
        folder = path.parent / part
        path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    if not path.exists():
        raise ModuleNotFoundError(f"no module named '{module}'")
    return path.read_text(encoding="utf-8")


def _summary(source: str, attribute: str) -> str:
    tree = ast.parse(source)
    for node in tree.body:
        for module in _imports(node):
            if not _importable(module.partition(".")[0]):
                raise ModuleNotFoundError(f"no module named '{module}'")
    owners = {getattr(node, "name", ""): node for node in tree.body}
    if attribute and attribute not in owners:
        if attribute in _bound(tree):
            return ""
        raise AttributeError(f"the module does not define '{attribute}'")
    owner = owners[attribute] if attribute else tree
    if not isinstance(owner, ast.Module | ast.ClassDef):
        return ""
    return (ast.get_docstring(owner) or "").partition("\n")[0]


def _bound(tree: ast.Module) -> set[str]:
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
    return names


def _imports(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module]
    return []
