"""Find environments by what the user calls them."""

from collections.abc import Callable
from dataclasses import dataclass
from inspect import getmembers, isfunction
from typing import Any

from anypo.errors import ConfigError, PluginError, nearest
from anypo.hooks import registry
from anypo.hooks.environment import Environment
from anypo.support.functions import load_function


@dataclass(frozen=True)
class ChosenEnvironment:
    """The environment of a run, and what the user calls it.

    Args:
        name: By the user.
        make: Makes one for a sample.
        is_of_trl: Whether it is a class for TRL's `environment_factory`, and no `Environment`.
    """

    name: str
    make: Callable[[], Any]
    is_of_trl: bool = False

    def __str__(self) -> str:
        return f"environment '{self.name}'"

    @property
    def task(self) -> str:
        """What it is for; nothing if it does not say."""
        return "" if self.is_of_trl else str(getattr(self.make, "task", ""))


def load_environment(spec: str) -> ChosenEnvironment:
    """The environment that `NAME`, `DISTRIBUTION:NAME`, `file.py:Class` or `module:Class` names.

    A class with `reset` and further public methods, but without `step`, is one of TRL's.

    Raises:
        PluginError: There is none, or it does not load, or is no environment.
        ConfigError: The file or module cannot be imported, or has no such class.
    """
    if ":" not in spec or registry.knows(spec, "environment"):
        if not registry.knows(spec, "environment"):
            known = [entry.name for entry in registry.entries("environment")]
            raise PluginError(
                f"there is no environment '{spec}'{nearest(spec, known)}; name your own as "
                "file.py:Class or package.module:Class"
            )
        entry = registry.find(spec, "environment")
        name, kind, who = entry.name, entry.load(), str(entry)
    else:
        name, who = spec.rpartition(":")[2], f"environment '{spec}'"
        try:
            kind = load_function(spec)
        except ConfigError as error:
            raise ConfigError(f"environment {error}") from error
    if isinstance(kind, type) and issubclass(kind, Environment):
        return ChosenEnvironment(name, kind)
    public = methods(kind) if isinstance(kind, type) else []
    if "reset" not in public:
        raise PluginError(f"{who} is no anypo.Environment, but {kind!r:.60}")
    if "step" in public or public == ["reset"]:
        which = "has `step`, too" if "step" in public else "has no other public method"
        raise PluginError(
            f"{who} is no anypo.Environment, and none for TRL's environment_factory either, as it "
            f"{which}: derive it from anypo.Environment"
        )
    return ChosenEnvironment(name, kind, is_of_trl=True)


def methods(kind: type) -> list[str]:
    """The names of the public functions of a class, in alphabetical order."""
    return [name for name, _ in getmembers(kind, isfunction) if not name.startswith("_")]
