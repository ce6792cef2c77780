"""Find plugins by name among the installed distributions. Standard library only.

A plugin is an entry point of one of the groups of `KINDS`. It is imported when it is named, not
before, so a broken one hurts nobody else and installing one runs none of its code. Those that the
environment variable ANYPO_DISABLE_PLUGINS names are as if they were not installed; it holds `NAME`,
`DISTRIBUTION:NAME` or `DISTRIBUTION:*`, separated by commas.
"""

import ast
import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.metadata import Distribution, EntryPoint, distributions
from typing import Any

from anypo.errors import PluginError, nearest, told
from anypo.hooks.version import mismatch
from anypo.support.foreign import foreign, place
from anypo.support.functions import is_module
from anypo.support.sequences import shared_start
from anypo.support.source import Definition, parsed

KINDS = {  # of which there are several, and the entry points by which they are found
    "algorithm": "anypo",
    "sampler": "anypo.samplers",
    "reward": "anypo.rewards",
    "task": "anypo.tasks",
    "environment": "anypo.environments",
    "observer": "anypo.observers",
    "command": "anypo.commands",
}
ALGORITHM = "algorithm"  # what is meant where no kind is said
DISABLE = "ANYPO_DISABLE_PLUGINS"
MANY = 20  # names that an error does not list


@dataclass(frozen=True)
class Entry:
    """One plugin that some distribution offers."""

    kind: str  # one of `KINDS`
    name: str
    distribution: str
    version: str
    entry_point: EntryPoint

    def __str__(self) -> str:
        return f"{title(self.kind)} '{self.name}' of {self.distribution} {self.version}"

    @property
    def full_name(self) -> str:
        """The name that no other plugin has."""
        return f"{self.distribution}:{self.name}"

    @property
    def shortest_name(self) -> str:
        """The name that finds it, whatever is disabled: the full one if others claim its name."""
        is_claimed = len(_named(self.name, self.kind)) > 1
        return self.full_name if is_claimed else self.name.replace("-", "_")

    @property
    def option_prefix(self) -> str:
        """What stands before the names of its own options, where it has any."""
        return self.name.replace("-", "_") + "_"

    @property
    def disabled_by(self) -> str:
        """The item of ANYPO_DISABLE_PLUGINS that names it; nothing if none does."""
        return next((item for item in _disabling() if _is_named(self, item)), "")

    def load(self) -> Any:
        """Import the plugin.

        Raises:
            PluginError: It needs a newer anypo or does not import; the message names its
                distribution and the cause.
        """
        if problem := self.mismatch():
            raise PluginError(f"{self} {problem}")
        with foreign(self._broken, passing=()):
            return self.entry_point.load()

    def make(self, *arguments: Any) -> Any:
        """What the plugin makes when it is called. Raises PluginError like `load`."""
        made = self.load()
        with self.answerable():
            return made(*arguments)

    def answerable(self) -> AbstractContextManager[None]:
        """Whatever the plugin's code raises in the block becomes an error that names it."""
        return foreign(self._broken)

    def _broken(self, error: BaseException) -> PluginError:
        where = place(error, self.entry_point.module)
        return PluginError(f"{self} is broken: {told(error)}{where}")

    def mismatch(self) -> str:
        """Why it cannot run with this hook API, as far as its source tells; nothing if it can."""
        try:
            written_for = _hook_api(self.parsed()[1])
        except Exception:  # importing it will tell what is wrong
            return ""
        return "" if written_for is None else mismatch(written_for)

    def parsed(self) -> tuple[ast.Module, Definition | None]:
        """What `parsed` says of the plugin."""
        return parsed(self.entry_point.module, self.entry_point.attr)


def title(kind: str) -> str:
    """What a plugin of a kind is called in a sentence; algorithms are most, and simply plugins."""
    return "plugin" if kind == ALGORITHM else kind


def entries(kind: str = ALGORITHM) -> tuple[Entry, ...]:
    """Every plugin of a kind (else PluginError), sorted by name, which two may share."""
    if kind not in KINDS:
        raise PluginError(f"there is no kind '{kind}' of plugin{nearest(kind, KINDS)}")
    return tuple(entry for entry in installed() if entry.kind == kind)


@cache
def installed() -> tuple[Entry, ...]:
    """Every plugin of every kind, sorted by kind and name."""
    found: dict[tuple[str, str, str], Entry] = {}
    for dist in distributions():  # in the order of sys.path: the first is the one imported
        for entry in _offered(dist):
            found.setdefault((entry.kind, entry.name, entry.distribution), entry)
    kinds = list(KINDS)
    order = sorted(found, key=lambda key: (kinds.index(key[0]), *key[1:]))
    return tuple(found[key] for key in order)


def knows(name: str, kind: str = ALGORITHM) -> bool:
    """Whether something of a kind is called so, usable or not."""
    return bool(_named(name, kind))


def find(name: str, kind: str = ALGORITHM) -> Entry:
    """The entry of a kind called `name`, or `DISTRIBUTION:NAME`; `-` and `_` are the same.

    Raises:
        PluginError: No plugin has that name, it is disabled, or several distributions offer it.
    """
    if not isinstance(name, str):  # as a file may have it
        raise PluginError(f"{title(kind)} {name!r} is no name")
    named = _named(name, kind)
    matches = [entry for entry in named if not entry.disabled_by]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise PluginError(f"{title(kind)} '{name}' is {rivalry(matches)}")
    if named:
        raise PluginError(
            f"{named[0]} is disabled by '{named[0].disabled_by}' in {DISABLE}; take that out of "
            "the variable to use it"
        )
    enabled = [entry for entry in entries(kind) if not entry.disabled_by]
    raise PluginError(f"there is no {title(kind)} '{name}'{_nearest(name, enabled)}")


def names_code(name: Any) -> bool:
    """Whether a name stands for a class where it is defined: `file.py:Class`, `module:Class`.

    `file.py` alone stands for its only one. Finding it runs that code.
    """
    if not isinstance(name, str) or knows(name):
        return False
    source, separator, _ = name.rpartition(":")
    is_file = name.endswith(".py") or source.endswith(".py")
    return is_file or (bool(separator) and is_module(source))


def rivals(entry: Entry) -> list[Entry]:
    """All that claim the name of an entry, itself included, and are not disabled."""
    return [other for other in _named(entry.name, entry.kind) if not other.disabled_by]


def rivalry(claimants: Sequence[Entry]) -> str:
    """Who offers one name, and how to choose."""
    offers = " and ".join(f"{entry.distribution} {entry.version}" for entry in claimants)
    choices = " or ".join(f"'{entry.full_name}'" for entry in claimants)
    return f"offered by {offers}; choose with {choices}"


def owner(module: str) -> Entry | None:
    """An entry of the distribution that a module belongs to; None if it has no plugins."""
    parts = module.split(".")

    def shared(entry: Entry) -> int:  # distributions may share a namespace package
        return shared_start(parts, entry.entry_point.module.split("."))

    return max(filter(shared, installed()), key=shared, default=None)


def ineffective() -> list[str]:
    """What ANYPO_DISABLE_PLUGINS names but nobody installed, a sentence each."""
    items = [item for item in _disabling() if not any(_is_named(e, item) for e in installed())]
    return [
        f"{DISABLE} names '{item}', which is not installed{_nearest(item, installed())}"
        for item in items
    ]


def load(name: str, kind: str = ALGORITHM) -> Any:
    """Import the plugin called `name`. Raises PluginError like `find` and `Entry.load`."""
    return find(name, kind).load()


def _hook_api(definition: Definition | None) -> Any:
    """What the class, or the module, says it is written for; None if it does not say."""
    for node in definition.body if definition else ():
        targets = getattr(node, "targets", [getattr(node, "target", None)])
        value = getattr(node, "value", None)
        is_said = "hook_api" in [getattr(target, "id", "") for target in targets]
        if is_said and isinstance(value, ast.Constant):
            return value.value
    return None


def _offered(dist: Distribution) -> list[Entry]:
    kinds = {group: kind for kind, group in KINDS.items()}
    try:
        points = [point for point in dist.entry_points if point.group in kinds]
        if not points or not dist.name:  # to ask for its name reads another file
            return []
        owner = dist.name, dist.version
        return [Entry(kinds[point.group], point.name, *owner, point) for point in points]
    except Exception:  # the metadata of some distribution is damaged: the others still count
        return []


def _disabling() -> list[str]:
    items = os.environ.get(DISABLE, "").split(",")
    return [item.strip() for item in items if item.strip()]


def _named(name: str, kind: str) -> list[Entry]:
    return [entry for entry in entries(kind) if _is_named(entry, name)]


def _is_named(entry: Entry, name: str) -> bool:
    """Whether `NAME`, `DISTRIBUTION:NAME` or `DISTRIBUTION:*` stands for the entry."""
    distribution, _, plugin = name.rpartition(":")
    if distribution and _normal(distribution) != _normal(entry.distribution):
        return False
    return _normal(plugin) == _normal(entry.name) or bool(distribution and plugin == "*")


def _nearest(name: str, known: Sequence[Entry]) -> str:
    """The name that may be meant; the full one if it is the distribution that is wrong."""
    plugin = name.rpartition(":")[2]
    if plugin == "*":
        return nearest(name, {f"{entry.distribution}:*" for entry in known})
    same_name = [entry.full_name for entry in known if _normal(entry.name) == _normal(plugin)]
    names = same_name or [entry.name for entry in known]
    if len(names) > MANY and not get_close_matches(name, names, n=1):
        return f"; `anypo list` shows the {len(names)} that there are"
    return nearest(name, names)


@cache
def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "_", name).lower()
