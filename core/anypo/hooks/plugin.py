"""A plugin: its fields are its knobs, its marked methods answer stages."""

import inspect
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, PrivateAttr, ValidationInfo, field_validator
from pydantic import ValidatorFunctionWrapHandler as Validator

from anypo.errors import PluginError, nearest
from anypo.hooks.specs import HOOKS
from anypo.hooks.version import ASSUMED, mismatch

_knobs_read: ContextVar[set[str] | None] = ContextVar("_knobs_read", default=None)


@dataclass(frozen=True)
class Place:
    """Where in a stack a plugin stands."""

    below: Mapping[str, Any] = field(default_factory=dict)  # the knobs declared below it
    bounded_above: Collection[str] = ()  # its own knobs whose bounds a plugin above declares anew


NOWHERE = Place()
_made_in: ContextVar[Place] = ContextVar("_made_in", default=NOWHERE)


class Plugin(BaseModel):
    """Base of all algorithms and modifiers: a frozen pydantic model.

    A stack is laid bottom to top, `extends` first. A knob has one value in the whole stack: what
    the user set, else the default of the topmost plugin that declares it. Every knob of the stack
    below a plugin is an attribute of it, unless it has something of that name itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    hook_api: ClassVar[str] = ASSUMED  # the version of the hook API that it is written for
    extends: ClassVar[tuple[type | str, ...]] = ()  # what is laid below it: classes or names
    claims: ClassVar[tuple[str, ...]] = ()  # what holds of it by intention, see anypo.testing
    couples: ClassVar[str] = ""  # "group" if the rows of a group must share a micro-batch
    options: ClassVar[Mapping[str, Any]] = {}  # run options that suit it, where nothing is set
    task_options: ClassVar[Mapping[str, Mapping[str, Any]]] = {}  # those that suit a task, by name,
    task_knobs: ClassVar[Mapping[str, Mapping[str, Any]]] = {}  # and knobs

    _anypo_place: Place = PrivateAttr(default_factory=lambda: _made_in.get())

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        for name in sorted(Plugin.__class_vars__ & cls.model_fields.keys()):
            raise PluginError(f"{cls.__name__}.{name} became a knob: write {name}: ClassVar = …")
        check_hooks(cls)

    def __getattribute__(self, name: str) -> Any:
        read = _knobs_read.get()
        if read is not None and name in type(self).model_fields:
            read.add(name)
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:
        below = {} if name.startswith("_") else self._anypo_place.below
        if name in below and not hasattr(type(self), name):
            if (read := _knobs_read.get()) is not None:
                read.add(name)
            return below[name]
        try:
            return super().__getattr__(name)  # type: ignore[misc]  # pydantic hides it
        except AttributeError as error:
            if not below or hasattr(type(self), name):
                raise
            raise AttributeError(
                f"{error}, and no plugin below it has a knob of that name{nearest(name, below)}"
            ) from None

    @field_validator("*", mode="wrap")
    @classmethod
    def _unless_bounded_above(cls, value: Any, check: Validator, info: ValidationInfo) -> Any:
        return value if info.field_name in _made_in.get().bounded_above else check(value)

    def __hash__(self) -> int:  # pluggy keeps plugins in sets; a knob may be a list
        return object.__hash__(self)


def placed(place: Place) -> AbstractContextManager[Place]:
    """What is made inside the block stands in that place of a stack."""
    return _while_set(_made_in, place)


def recorded_knobs() -> AbstractContextManager[set[str]]:
    """The names of all knobs that plugins read inside the block."""
    return _while_set(_knobs_read, set())


@contextmanager
def _while_set(variable: ContextVar[Any], value: Any) -> Iterator[Any]:
    token = variable.set(value)
    try:
        yield value
    finally:
        variable.reset(token)


def hook_options(function: Any) -> dict[str, Any] | None:
    """What `@hookimpl` wrote on the function; None if it is not marked."""
    return getattr(function, "anypo_impl", None)


def hooks_of(plugin: object) -> dict[str, dict[str, Any]]:
    """What `@hookimpl` wrote on the functions by which a plugin answers, by stage."""
    found = {stage: hook_options(getattr(plugin, stage, None)) for stage in HOOKS}
    return {stage: options for stage, options in found.items() if options}


def check_hooks(owner: type | ModuleType) -> None:
    """Refuse what pluggy would drop or reorder without a word.

    Raises:
        PluginError: A function is named like a stage but not marked, marked but not named like one,
            or asks for an argument in a way pluggy never fills, or to be called out of order; or
            the plugin is written for another hook API.
    """
    if problem := mismatch(getattr(owner, "hook_api", ASSUMED)):
        raise PluginError(f"{owner.__name__} {problem}")
    for name, function in inspect.getmembers(owner, inspect.isroutine):
        options = hook_options(function)
        if options is None and name not in HOOKS:
            continue
        where = f"{owner.__name__}.{name}"
        if options is None:
            raise PluginError(f"{where} is named like a stage but lacks @hookimpl")
        if name not in HOOKS:
            raise PluginError(f"{where} answers a stage that does not exist{nearest(name, HOOKS)}")
        if options["tryfirst"] or options["trylast"]:
            raise PluginError(f"{where} uses tryfirst or trylast; its place in the stack decides")
        if options["hookwrapper"]:
            raise PluginError(f"{where} is an old-style wrapper: use @hookimpl(wrapper=True)")
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD or (
                parameter.default is not parameter.empty
            ):
                raise PluginError(f"{where}: make '{parameter.name}' a plain argument")
