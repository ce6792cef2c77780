"""Find a function, or whatever else of a file or module the user names."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from anypo.errors import ConfigError, told
from anypo.support.foreign import foreign, place

OF_USER = "anypo_user_"  # before the name of a file, which would hide a library that is called so


def load_function(spec: str) -> Callable[..., Any]:
    """The function that `file.py:name` or `package.module:name` stands for.

    Raises:
        ConfigError: It cannot be imported, or is no function.
    """
    source, _, name = spec.rpartition(":")
    if not source:
        raise ConfigError(f"'{spec}': write file.py:function or package.module:function")
    function = getattr(load_module(source, spec), name, None)
    if not callable(function):
        raise ConfigError(f"'{source}' defines no function '{name}'")
    return function  # type: ignore[no-any-return]


def load_module(source: str, spec: str) -> ModuleType:
    """The module that `file.py` or `package.module` stands for; running a file runs its code.

    Args:
        source: What is imported.
        spec: What the user calls it, for an error.

    Raises:
        ConfigError: It cannot be imported.
    """
    is_file = source.endswith(".py")
    module_name = _own_name(Path(source)) if is_file else source

    def refused(error: BaseException) -> ConfigError:
        return ConfigError(f"'{spec}' cannot be imported: {told(error)}{place(error, module_name)}")

    with foreign(refused), _importable(Path.cwd()):
        return _load_file(module_name, Path(source)) if is_file else import_module(source)


def is_module(name: str) -> bool:
    """Whether there is a module, or one that its top-level package would hold. Runs none of it."""
    with _importable(Path.cwd()):
        return all(map(str.isidentifier, name.split("."))) and bool(find_spec(name.split(".")[0]))


def name_of(function: Callable[..., Any]) -> str:
    """The name by which `load_function` finds a function again.

    Raises:
        ValueError: It is none of a module, so nobody could find it.
    """
    module, name = (getattr(function, part, "") for part in ("__module__", "__qualname__"))
    if module == "__main__" or getattr(sys.modules.get(module), name, None) is not function:
        raise ValueError(
            "the run could not be repeated with a function that no module defines: put it into a "
            "file, and name it as file.py:function"
        )
    return f"{module}:{name}"


def _own_name(path: Path) -> str:
    """What a file is called as a module: another one of its name must not take its place."""
    name = f"{OF_USER}{path.stem}"
    while (there := sys.modules.get(name)) and there.__file__ != str(path.resolve()):
        name += "_"
    return name


def _load_file(name: str, path: Path) -> ModuleType:
    spec = spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(f"no file '{path}'")
    module = module_from_spec(spec)
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
