"""Whose fault it is: an error names the hook, the plugin, its distribution and the line."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import pluggy

from anypo.composition.stack import Layer
from anypo.errors import PluginError
from anypo.hooks.batch import MissingTensorError
from anypo.hooks.specs import MERGED

if TYPE_CHECKING:
    from anypo.composition.algorithm import Algorithm


def answerers(algorithm: Algorithm, stage: str) -> str:
    """Who answers a stage, for an error message: the wrappers, then whom they wrap."""
    names: list[str] = []
    for impl in algorithm.answers(stage):
        names.append(layer_of(algorithm, impl).title)
        if not impl.wrapper and stage not in MERGED:
            break
    return f"'{stage}' of plugin {(' or ' if stage in MERGED else ' around ').join(names)}"


def failure(algorithm: Algorithm, stage: str, error: Exception) -> PluginError:
    """What to raise when a hook raised an error."""
    what = str(error)
    if not isinstance(error, MissingTensorError):
        what = f"{type(error).__name__}: {error}"
    impl = _culprit(algorithm.answers(stage), error)
    if impl is None:
        return PluginError(f"{answerers(algorithm, stage)} failed: {what}")
    layer = layer_of(algorithm, impl)
    # A plugin of no distribution is used from Python, where the traceback shows the line.
    where = f" ({_place(impl, error)})" if layer.owner else ""
    return PluginError(f"'{stage}' of plugin {layer.title} failed: {what}{where}")


def layer_of(algorithm: Algorithm, impl: pluggy.HookImpl) -> Layer:
    """The layer whose hook it is."""
    return next(layer for layer in algorithm.layers if layer.label == impl.plugin_name)


def code_of(impl: pluggy.HookImpl) -> CodeType:
    """The code of a hook as the plugin's author wrote it, beneath any decorators."""
    function: Any = inspect.unwrap(impl.function)
    return function.__code__  # type: ignore[no-any-return]


def location(file: str, module: str, line: int) -> str:
    """`file:line`, the file from its top-level package on."""
    path = Path(file)
    depth = len(module.split(".")) + (path.name == "__init__.py")
    return f"{'/'.join(path.parts[-depth:])}:{line}"


def _culprit(impls: list[pluggy.HookImpl], error: Exception) -> pluggy.HookImpl | None:
    """The innermost hook that was running when the error was raised."""
    owners = {code_of(impl): impl for impl in reversed(impls)}  # one may inherit another's
    running = [owners[frame.f_code] for frame, _ in _frames(error) if frame.f_code in owners]
    return running[-1] if running else None


def _place(impl: pluggy.HookImpl, error: Exception) -> str:
    """The last line of the plugin's own package that was running."""
    package, place = impl.function.__module__.partition(".")[0], ""
    for frame, line in _frames(error):
        module = frame.f_globals.get("__name__", "")
        if frame.f_code is code_of(impl) or module.partition(".")[0] == package:
            place = location(frame.f_code.co_filename, module, line)
    return place


def _frames(error: Exception) -> Iterator[tuple[FrameType, int]]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
