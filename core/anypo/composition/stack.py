"""Lay the plugins of an algorithm bottom to top."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from pydantic import ValidationError

from anypo.errors import KnobError, PluginError, nearest, told
from anypo.hooks import registry
from anypo.hooks.plugin import Plugin, check_hooks, hooks_of
from anypo.hooks.specs import MERGED, STAGES
from anypo.support.classes import load_own
from anypo.support.foreign import foreign, place
from anypo.support.validation import refusal

OWN = "anypo"  # the distribution of the core and the built-in algorithms


@dataclass(frozen=True)
class Layer:
    """One place in the stack."""

    name: str
    source: Any  # a Plugin class, or the object itself if it has no knobs
    given: dict[str, Any] = field(default_factory=dict)  # knobs set on the instance passed in
    stage: str | None = None  # the one stage taken from this plugin; None: all it answers

    @property
    def label(self) -> str:
        """What it is registered as: its name, with the stage if only that was taken."""
        return self.name if self.stage is None else f"{self.name}.{self.stage}"

    @property
    def definition(self) -> type | ModuleType:
        """The class or module that its author wrote."""
        is_itself = isinstance(self.source, type | ModuleType)
        return self.source if is_itself else type(self.source)

    @property
    def module(self) -> str:
        """The module in which it is defined."""
        return getattr(self.definition, "__module__", self.definition.__name__)

    @property
    def owner(self) -> registry.Entry | None:
        """An entry of the distribution that it comes with; None if it was defined in a script."""
        return registry.owner(self.module)

    @property
    def title(self) -> str:
        """What an error calls it: its label, and whose it is unless that goes without saying."""
        owner = self.owner
        if owner is None or owner.distribution == OWN:
            return f"'{self.label}'"
        return f"'{self.label}' of {owner.distribution} {owner.version}"

    @property
    def fields(self) -> dict[str, Any]:
        """The knobs it declares: pydantic FieldInfo by name."""
        return self.source.model_fields if _is_plugin(self.source) else {}

    def replaces(self) -> list[str]:
        """The stages of which it is the only answer."""
        only = set(STAGES) - set(MERGED)
        return [s for s, o in hooks_of(self.source).items() if s in only and not o["wrapper"]]

    def build(self, values: Mapping[str, Any]) -> object:
        """The object to register with pluggy.

        Raises:
            KnobError: A value is out of range or of the wrong type.
        """
        plugin = self._plugin(values)
        if isinstance(plugin, Plugin) and self.stage is None:
            return plugin
        stages = hooks_of(plugin) if self.stage is None else (self.stage,)
        return _Answers({stage: getattr(plugin, stage) for stage in stages})

    def _plugin(self, values: Mapping[str, Any]) -> object:
        if not isinstance(self.source, type):
            return self.source
        with foreign(self._unmade):
            try:
                return self.source(**{name: values[name] for name in self.fields})
            except ValidationError as error:
                raise KnobError(f"{self.name}: {refusal(error)}") from error

    def _unmade(self, error: BaseException) -> PluginError:
        where = place(error, self.module)
        return PluginError(f"plugin {self.title} cannot be made: {told(error)}{where}")


class _Answers:
    """Some hooks of a plugin, as an object that pluggy can hash whatever the plugin is."""

    def __init__(self, hooks: Mapping[str, Any]) -> None:
        vars(self).update(hooks)


def snake_case(name: str) -> str:
    """`HybridGRPO` is `hybrid_grpo`, as the file and the plugin are called."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def layer_of(item: Any) -> Layer:
    """The layer of a plugin's name, class or instance."""
    name = None
    if registry.names_code(item):
        name, item = load_own(item, _is_plugin)
    elif isinstance(item, str):
        entry = registry.find(item)
        item, name = entry.load(), entry.shortest_name
    name = name or snake_case(getattr(item, "__name__", type(item).__name__))
    if isinstance(item, Plugin):
        given = {knob: getattr(item, knob) for knob in item.model_fields_set}
        return Layer(name, type(item), given)
    layer = Layer(name, item)
    if not _is_plugin(item):
        check_hooks(layer.definition)
        if not hooks_of(item):
            raise PluginError(f"{item!r:.60} is no plugin: it answers no stage")
    return layer


@dataclass(frozen=True)
class Stack:
    """Plugins laid bottom to top, before their knobs have values."""

    name: str  # the named plugins joined by `+`, then the swapped stages
    layers: tuple[Layer, ...]

    def preferred(self, wish: str, task: str | None = None) -> dict[str, Any]:
        """Their `options`, or `task_options` or `task_knobs` of a task; the topmost one wins.

        A plugin of which only one stage was taken has no say in the rest of the run.
        """
        merged: dict[str, Any] = {}
        for layer in (layer for layer in self.layers if layer.stage is None):
            wishes = getattr(layer.source, wish, {})
            merged |= wishes if task is None else wishes.get(task, {})
        return merged


def lay(plugins: Iterable[Any], swaps: Mapping[str, str]) -> Stack:
    """The stack of plugins, bottom first, each on what it extends.

    Args:
        plugins: Classes, instances and names; a text may be several names joined by `+`.
        swaps: For a stage, the plugin whose answer is put on top of all.

    Raises:
        PluginError: A name is unknown, something is no plugin, or stands in the stack already.
    """
    parts = [item.split("+") if isinstance(item, str) else [item] for item in plugins]
    tops = [layer_of(part) for item in parts for part in item]
    layers: dict[int, Layer] = {}  # by identity of the source, which need not be hashable
    for top in tops:
        if id(top.source) in layers:
            raise PluginError(f"'{top.name}' is already in the stack below; name it once")
        for layer in _with_bases(top):
            if layer is not top and id(layer.source) not in layers:
                _refuse_to_cover(layer, top, list(layers.values()))
            layers.setdefault(id(layer.source), layer)
    if not layers:
        raise PluginError("no plugin named: an algorithm is a stack of at least one")
    laid = tuple(layers.values())
    name = "+".join(layer.name for layer in tops)
    name += "".join(f"[{stage}={donor}]" for stage, donor in swaps.items())
    return Stack(name, laid + tuple(_swap(laid, stage, donor) for stage, donor in swaps.items()))


def _is_plugin(source: Any) -> bool:
    return isinstance(source, type) and issubclass(source, Plugin)


def _with_bases(layer: Layer, above: tuple[Layer, ...] = ()) -> Iterable[Layer]:
    bases = getattr(layer.source, "extends", ())
    if not isinstance(bases, tuple):
        raise PluginError(f"'{layer.name}' extends {bases!r}, which is no tuple")
    line = (*above, layer)
    if any(layer.source is other.source for other in above):
        names = ", ".join(other.name for other in line)
        raise PluginError(f"'{layer.name}' extends itself: {names}; take it out of one `extends`")
    for base in bases:
        yield from _with_bases(layer_of(base), line)
    yield layer


def _refuse_to_cover(base: Layer, top: Layer, below: Sequence[Layer]) -> None:
    """A plugin must not bring along, above an algorithm, another one that replaces it."""
    own_bases = {id(layer.source) for layer in _with_bases(top)}
    for layer in below:
        covered = set(layer.replaces()) & set(base.replaces())
        if covered and id(layer.source) not in own_bases:
            raise PluginError(
                f"'{top.name}' extends '{base.name}', which would replace '{layer.name}' below it; "
                f"if that is meant, name '{base.name}' first"
            )


def _swap(stack: Sequence[Layer], stage: str, name: str) -> Layer:
    if stage not in STAGES:
        raise PluginError(f"there is no stage '{stage}'{nearest(stage, STAGES)}")
    if not isinstance(name, str):
        raise PluginError(
            f"'{stage}' is taken from {name!r:.60}, which is no name: put it on the stack, or "
            "name it as file.py:Class"
        )
    for layer in reversed(list(_with_bases(layer_of(name)))):
        if stage in hooks_of(layer.source):
            if layer.source in [below.source for below in stack]:
                raise PluginError(
                    f"'{name}' answers '{stage}' with that of '{layer.name}', which is in the "
                    "stack already; set its knobs instead"
                )
            return Layer(layer.name, layer.source, layer.given, stage)
    raise PluginError(f"plugin '{name}' does not answer the stage '{stage}'")
