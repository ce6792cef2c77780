"""Find a class that no package offers by where it is defined: `file.py:Class`."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from anypo.errors import ConfigError, PluginError, nearest
from anypo.support.functions import load_module


def load_own(spec: str, is_wanted: Callable[[Any], bool]) -> tuple[str, Any]:
    """The full name and the class that `file.py:Class`, `module:Class` or `file.py` stands for.

    Args:
        spec: Where it is.
        is_wanted: Whether something is a plugin, which the only one of a file has to be.

    Raises:
        PluginError: It cannot be imported or does not define the class, or not one alone.
    """
    source, _, name = (spec, "", "") if spec.endswith(".py") else spec.rpartition(":")
    path = Path(source)
    stamp = (path.stat().st_mtime_ns, path.stat().st_size) if path.is_file() else ()
    try:
        module = _module(source, str(path.resolve()), stamp)
    except ConfigError as error:
        raise PluginError(f"plugin {error}") from error
    own = [n for n, found in vars(module).items() if _is_own(found, module) and is_wanted(found)]
    if not name and len(own) != 1:
        several = f"write '{source}:{own[0]}', say" if own else "a plugin is a class of its own"
        there = f"defines {' and '.join(own) or 'no plugin'}"
        raise PluginError(f"'{source}' {there}: {several}")
    name = name or own[0]
    if not hasattr(module, name):
        raise PluginError(f"'{source}' defines no plugin '{name}'{nearest(name, own)}")
    return f"{source}:{name}", getattr(module, name)


@lru_cache(maxsize=64)
def _module(source: str, path: str, stamp: tuple[int, ...]) -> ModuleType:
    """Run once as long as it stays as it is: the same name is the same class in all of a stack."""
    return load_module(source, source)


def _is_own(found: Any, module: ModuleType) -> bool:
    is_defined_here = isinstance(found, type) and found.__module__ == module.__name__
    return is_defined_here and not found.__name__.startswith("_")
