"""What names the code of plugins mentions."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable, Iterator
from types import CodeType
from typing import Any


def names_in(sources: Iterable[Any]) -> set[str]:
    """All attributes and texts in the code of some plugins, and of the functions that they use.

    A knob whose name is not among them is read by nobody, whatever the batch.
    """
    codes = {code for source in sources for code in _codes_of(source)}
    return {name for code in codes for name in _mentioned(code)}


def _codes_of(source: Any) -> Iterator[CodeType]:
    definition = source if inspect.isclass(source) or inspect.ismodule(source) else type(source)
    classes = definition.__mro__ if inspect.isclass(definition) else (definition,)
    for owner in classes:
        module = sys.modules.get(getattr(owner, "__module__", owner.__name__), owner)
        yield from (code for holder in (owner, module) for code in _held(holder))


def _held(holder: Any) -> Iterator[CodeType]:
    """The code of the functions, methods and properties that a class or a module holds."""
    for member in vars(holder).values():
        if inspect.isclass(member):
            yield from _held_directly(member)
        yield from _code(member)


def _held_directly(owner: type) -> Iterator[CodeType]:
    for member in vars(owner).values():
        yield from _code(member)


def _code(member: Any) -> Iterator[CodeType]:
    parts = (getattr(member, name, None) for name in ("__func__", "func", "fget", "wrapped"))
    for function in (member, *parts):
        code = getattr(inspect.unwrap(function) if callable(function) else None, "__code__", None)
        if isinstance(code, CodeType):
            yield code


def _mentioned(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _mentioned(constant)
        elif isinstance(constant, str):  # as in getattr(self, "beta")
            yield constant
