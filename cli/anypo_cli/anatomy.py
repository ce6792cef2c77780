"""What an algorithm stands on and changes, read from its source and not by running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

from anypo.hooks import registry
from anypo.hooks.source import parsed
from anypo.hooks.stages import MERGED, STAGES

WHOLE = set(STAGES) - set(MERGED)  # what no algorithm does without


@dataclass(frozen=True)
class Anatomy:
    """Of one class of a module, among those of all algorithms.

    Where it extends a class that is no plugin by itself, that is a part of it.
    """

    module: str
    attribute: str
    others: Mapping[str, Anatomy] = field(repr=False)
    places: Mapping[str, str] = field(repr=False)  # the names of algorithms by where they are

    @cached_property
    def bases(self) -> tuple[str, ...]:
        """The plugins that it extends, by name."""
        names = (names for part in self._parts for names in part._extended[0])
        return tuple(dict.fromkeys(names))

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """The stages that it answers, in their order."""
        answered = {name for part in self._parts for name in part._hooks}
        return tuple(stage for stage in STAGES if stage in answered)

    @cached_property
    def defaults(self) -> Mapping[str, str]:
        """The knobs of its bases that have another default here, which stands as it is written."""
        below = dict(knob for base in self._below for knob in base.all_knobs)
        own = {name: value for part in self._parts for name, value in part._knobs.items()}
        return {k: v for k, v in own.items() if k in below and v not in ("", below[k])}

    @property
    def all_knobs(self) -> Iterator[tuple[str, str]]:
        """All that it declares or has from below, with defaults as they are written."""
        for base in self._below:
            yield from base.all_knobs
        for part in self._parts:
            yield from part._knobs.items()

    def __str__(self) -> str:
        """What it changes of what it stands on, in half a line; nothing if that is nothing."""
        if not self.bases and (not self.stages or set(self.stages) >= WHOLE):
            return ""
        knobs = (f"{name}={value}" for name, value in self.defaults.items())
        changed = "; ".join(filter(None, (", ".join(self.stages), ", ".join(knobs))))
        return ": ".join(filter(None, ("+".join(self.bases) or "any", changed)))

    @property
    def _below(self) -> list[Anatomy]:
        return [self.others[name] for name in self.bases if name in self.others]

    @cached_property
    def _parts(self) -> list[Anatomy]:
        """It, and the classes that it extends and that are no plugins by themselves."""
        return [*(part for other in self._extended[1] for part in other._parts), self]

    @cached_property
    def _extended(self) -> tuple[list[str], list[Anatomy]]:
        """The names of the plugins, and the other classes, that its `extends` names."""
        names: list[str] = []
        others: list[Anatomy] = []
        value = self._values.get("extends")
        for item in value.elts if isinstance(value, ast.Tuple) else ():
            match item:
                case ast.Constant(value=str(name)):
                    names.append(name.replace("-", "_"))
                case ast.Name(id=name):
                    place = self._imported.get(name, f"{self.module}:{name}")
                    if place in self.places:
                        names.append(self.places[place])
                    else:
                        module, _, attribute = place.partition(":")
                        others.append(replace(self, module=module, attribute=attribute))
        return names, others

    @cached_property
    def _source(self) -> tuple[ast.Module, list[ast.stmt]]:
        tree, definition = parsed(self.module, self.attribute)
        return tree, definition.body if isinstance(definition, ast.ClassDef) else []

    @cached_property
    def _imported(self) -> dict[str, str]:
        """Where the names come from that its module imports."""
        return {
            alias.asname or alias.name: f"{node.module}:{alias.name}"
            for node in self._source[0].body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    @cached_property
    def _values(self) -> dict[str, ast.expr | None]:
        found: dict[str, ast.expr | None] = {}
        for node in self._source[1]:
            match node:
                case ast.AnnAssign(target=ast.Name(id=name), value=value):
                    found[name] = value
                case ast.Assign(targets=[ast.Name(id=name)], value=value):
                    found[name] = value
        return found

    @cached_property
    def _knobs(self) -> dict[str, str]:
        return {
            node.target.id: _default(node.value)
            for node in self._source[1]
            if isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and "ClassVar" not in ast.unparse(node.annotation)
        }

    @cached_property
    def _hooks(self) -> set[str]:
        marked = (n for n in self._source[1] if isinstance(n, ast.FunctionDef))
        return {
            n.name for n in marked if any("hookimpl" in ast.unparse(d) for d in n.decorator_list)
        }


def anatomies() -> dict[str, Anatomy]:
    """Those of all algorithms whose source can be read, by the names that find them."""
    points = {entry.shortest_name: entry.entry_point for entry in registry.entries()}
    places = {point.value: name for name, point in points.items()}
    every: dict[str, Anatomy] = {}
    every |= {name: Anatomy(p.module, p.attr, every, places) for name, p in points.items()}
    return {name: anatomy for name, anatomy in every.items() if _is_readable(anatomy)}


def _is_readable(anatomy: Anatomy) -> bool:
    try:
        str(anatomy)
    except Exception:  # whatever is wrong with the source, the list says it
        return False
    return True


def _default(value: ast.expr | None) -> str:
    """Of a knob, as it is written; nothing if it has to be set."""
    if isinstance(value, ast.Call) and ast.unparse(value.func).endswith("Field"):
        value = value.args[0] if value.args else None
    return "" if value is None else ast.unparse(value)
