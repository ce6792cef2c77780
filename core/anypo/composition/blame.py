"""Whose fault it is: the hook that was running when an error was raised."""

import inspect
from collections.abc import Sequence
from traceback import walk_tb
from types import CodeType
from typing import Any

import pluggy


def culprit(impls: Sequence[pluggy.HookImpl], error: BaseException) -> pluggy.HookImpl | None:
    """The innermost hook that was running when the error was raised."""
    owners = {code_of(impl): impl for impl in reversed(impls)}  # one may inherit another's
    codes = [frame.f_code for frame, _ in walk_tb(error.__traceback__)]
    return next((owners[code] for code in reversed(codes) if code in owners), None)


def code_of(impl: pluggy.HookImpl) -> CodeType:
    """The code of a hook as the plugin's author wrote it, beneath any decorators."""
    function: Any = inspect.unwrap(impl.function)
    return function.__code__  # type: ignore[no-any-return]
