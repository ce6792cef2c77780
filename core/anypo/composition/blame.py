"""Whose fault it is: the hook that was running when an error was raised, and the line."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pluggy


def culprit(impls: Sequence[pluggy.HookImpl], error: Exception) -> pluggy.HookImpl | None:
    """The innermost hook that was running when the error was raised."""
    owners = {code_of(impl): impl for impl in reversed(impls)}  # one may inherit another's
    running = [owners[frame.f_code] for frame, _ in _frames(error) if frame.f_code in owners]
    return running[-1] if running else None


def place(impl: pluggy.HookImpl, error: Exception) -> str:
    """The last line of the plugin's own package that was running, as `file:line`."""
    package, found = impl.function.__module__.partition(".")[0], ""
    for frame, line in _frames(error):
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


def _frames(error: Exception) -> Iterator[tuple[FrameType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
