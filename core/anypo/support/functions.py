"""Find a function that the user names."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
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
    is_file = source.endswith(".py")
    module_name = f"{OF_USER}{Path(source).stem}" if is_file else source

    def refused(error: BaseException) -> ConfigError:
        return ConfigError(f"'{spec}' cannot be imported: {told(error)}{place(error, module_name)}")

    with foreign(refused), _importable(Path.cwd()):
        module = _load_file(module_name, Path(source)) if is_file else import_module(source)
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"'{source}' defines no function '{name}'")
    return function  # type: ignore[no-any-return]


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


def _load_file(name: str, path: Path) -> Any:
    spec = spec_from_file_location(name, path)
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
