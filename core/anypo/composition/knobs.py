"""Give every knob of a stack its one value, and make the plugins with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import TypeAdapter, ValidationError

from anypo.composition.schedules import at, read_schedule
from anypo.composition.stack import Layer, Stack
from anypo.errors import KnobError, nearest
from anypo.hooks.plugin import Place, placed
from anypo.hooks.task import ChosenTask
from anypo.support.validation import refusal


@dataclass(frozen=True)
class Knob:
    """A knob and the one value it has in the whole stack."""

    name: str
    value: Any
    origin: str  # "set by you", or whose default it is
    declared_by: str
    description: str
    is_set: bool


def resolve_knobs(
    stack: Stack, settings: Mapping[str, Any], task: ChosenTask | None = None
) -> dict[str, Knob]:
    """Every knob of the stack with its one value.

    A setting wins, else what suits the task, else the default of the topmost plugin that declares
    the knob; a plugin of which only one stage was taken brings new knobs but re-defaults none.

    Raises:
        KnobError: A setting is unknown, two values are given, or two types are declared.
    """
    declared: dict[str, list[Layer]] = {}
    for layer in sorted(stack.layers, key=lambda layer: layer.stage is None):
        for name in layer.fields:
            declared.setdefault(name, []).append(layer)
    for name in settings:
        if name not in declared:
            named = " + ".join(layer.name for layer in stack.layers)
            raise KnobError(f"{named} has no knob '{name}'{nearest(name, declared)}")
    knobs = {name: _resolve(name, own, settings) for name, own in declared.items()}
    if task is not None:
        origin = f"suits the task '{task.name}'"
        for name, value in suiting(stack, task).items():
            if name in knobs and not knobs[name].is_set:
                knobs[name] = replace(knobs[name], value=value, origin=origin)
    return knobs


def suiting(stack: Stack, task: ChosenTask) -> dict[str, Any]:
    """The knobs that a task, or a plugin on it, prefers to the defaults."""
    return {**task.plugin.knobs, **stack.preferred("task_knobs", task.name)}


def build(layers: Sequence[Layer], knobs: Mapping[str, Knob], share: float) -> list[object]:
    """The plugins of a stack, bottom first, each with the values of its knobs and those below it.

    Those that follow a schedule have the value of a share of the way.

    The bounds of a knob are those of the topmost plugin that declares some; one of which only a
    stage was taken keeps to its own.
    """
    values = {knob.name: at(knob.value, share) for knob in knobs.values()}
    plugins, below = [], dict[str, Any]()
    for i, layer in enumerate(layers):
        above = [layer for layer in layers[i + 1 :] if layer.stage is None]
        bounded = {name for other in above for name, f in other.fields.items() if f.metadata}
        with placed(Place(dict(below), bounded if layer.stage is None else ())):
            plugins.append(layer.build(values))
        below |= {name: values[name] for name in layer.fields}
    return plugins


def _resolve(name: str, owners: Sequence[Layer], settings: Mapping[str, Any]) -> Knob:
    top = owners[-1]
    for other in owners:
        if other.fields[name].annotation != top.fields[name].annotation:
            raise KnobError(f"'{other.name}' and '{top.name}' declare '{name}' with other types")
    given = [(f"set on {layer.name}", layer.given[name]) for layer in owners if name in layer.given]
    if name in settings:
        given.append(("set by you", _validated(top, name, settings[name])))
    for origin, value in given:
        if value != given[0][1]:
            raise KnobError(
                f"'{name}' is given twice: {given[0][1]!r} ({given[0][0]}), {value!r} ({origin})"
            )
    field_info = top.fields[name]
    if not given and field_info.is_required():
        raise KnobError(f"'{top.name}' needs its knob '{name}' to be set")
    description = next((f for o in reversed(owners) if (f := o.fields[name].description)), "")
    default = (f"default of {top.name}", field_info.get_default(call_default_factory=True))
    origin, value = given[-1] if given else default
    return Knob(name, value, origin, top.name, description, is_set=bool(given))


def _validated(layer: Layer, name: str, value: Any) -> Any:
    declared: Any = Annotated[layer.fields[name].annotation, layer.fields[name]]
    check = TypeAdapter(declared).validate_python
    is_number = layer.fields[name].annotation in (int, float)
    try:
        return (read_schedule(value, check) if is_number else None) or check(value)
    except ValidationError as error:
        raise KnobError(f"{layer.name}: {refusal(error, name)}") from error
