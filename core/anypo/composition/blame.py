"""Whose fault it is: the hook that was running when an error was raised, and the line."""

import inspect
from collections.abc import Sequence
from pathlib import Path
from traceback import walk_tb
from types import CodeType
from typing import Any

import pluggy


def culprit(impls: Sequence[pluggy.HookImpl], error: Exception) -> pluggy.HookImpl | None:
    """The innermost hook that was running when the error was raised."""
    owners = {code_of(impl): impl for impl in reversed(impls)}  # one may inherit another's
    codes = [frame.f_code for frame, _ in walk_tb(error.__traceback__)]
    return next((owners[code] for code in reversed(codes) if code in owners), None)


def place(impl: pluggy.HookImpl, error: Exception) -> str:
    """The last line of the plugin's own package that was running, as `file:line`."""
    package, found = impl.function.__module__.partition(".")[0], ""
    for frame, line in walk_tb(error.__traceback__):
        module = frame.f_globals.get("__name__", "")
        if frame.f_code is code_of(impl) or module.partition(".")[0] == package:
            found = location(frame.f_code.co_filename, module, line)
    return found


def code_of(impl: pluggy.HookImpl) -> CodeType:
    """The code of a hook as the plugin's author wrote it, beneath any decorators."""
    function: Any = inspect.unwrap(impl.function)
    return function.__code__  # type: ignore[no-any-return]


def location(file: str, module: str, line: int) -> str:
    """`file:line`, the file from its top-level package on."""
    path = Path(file)
    depth = len(module.split(".")) + (path.name == "__init__.py")
    return f"{'/'.join(path.parts[-depth:])}:{line}"
