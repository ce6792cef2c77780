"""Find a function that the user names."""

import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from anypo.errors import ConfigError


def load_function(spec: str) -> Callable[..., Any]:
    """The function that `file.py:name` or `package.module:name` stands for.

    Raises:
        ConfigError: It cannot be imported, or is no function.
    """
    place, _, name = spec.rpartition(":")
    if not place:
        raise ConfigError(f"'{spec}': write file.py:function or package.module:function")
    try:
        with _importable(Path.cwd()):
            is_file = place.endswith(".py")
            module = _load_file(Path(place)) if is_file else importlib.import_module(place)
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {error}"
        raise ConfigError(f"'{spec}' cannot be imported: {why}") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"'{place}' defines no function '{name}'")
    return function  # type: ignore[no-any-return]


def _load_file(path: Path) -> Any:
    name = f"anypo_user_{path.stem}"  # its own would hide a library of that name
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no file '{path}'")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickle look it up
    with _importable(path.parent):
        spec.loader.exec_module(module)
    return module


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let the user's code import what lies beside it, as in a script."""
    sys.path.insert(0, str(folder.resolve()))
    try:
        yield
    finally:
        sys.path.remove(str(folder.resolve()))
