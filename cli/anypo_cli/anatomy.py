"""What an algorithm stands on and changes, read from its source and not by running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.util import resolve_name

from anypo.hooks import registry
from anypo.hooks.stages import MERGED, STAGES
from anypo.support.source import parsed, path_of

ROOT = "Plugin"  # from which all derive
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
        names, others = self._extended
        return tuple(dict.fromkeys([*(base for other in others for base in other.bases), *names]))

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
        """It, what it derives from, and the classes it extends that are no plugins themselves."""
        return [*(part for other in self._extended[1] for part in other._parts), *self._line]

    @property
    def _line(self) -> list[Anatomy]:
        """The classes that it derives from, and itself."""
        return [*(one for parent in self._parents for one in parent._line), self]

    @cached_property
    def _parents(self) -> list[Anatomy]:
        bases = (node for node in reversed(self._source[1]) if isinstance(node, ast.Name))
        places = [self._place(base.id) for base in bases]
        return [self._at(place) for place in places if not place.endswith(f":{ROOT}")]

    @cached_property
    def _extended(self) -> tuple[list[str], list[Anatomy]]:
        """The names of the plugins, and the other classes, that its `extends` names."""
        names: list[str] = []
        others: list[Anatomy] = []
        if "extends" not in self._values and self._parents:
            return self._parents[-1]._extended
        value = self._values.get("extends")
        for item in value.elts if isinstance(value, ast.Tuple) else ():
            match item:
                case ast.Constant(value=str(name)):
                    names.append(name.replace("-", "_"))
                case ast.Name(id=name):
                    place = self._place(name)
                    if place in self.places:
                        names.append(self.places[place])
                    else:
                        others.append(self._at(place))
        return names, others

    @cached_property
    def _source(self) -> tuple[ast.Module, list[ast.expr], list[ast.stmt]]:
        """The module, and what the class derives from and holds."""
        tree, definition = parsed(self.module, self.attribute)
        if not isinstance(definition, ast.ClassDef):
            return tree, [], []
        return tree, definition.bases, definition.body

    def _place(self, name: str) -> str:
        """Where a class is that its module names."""
        return self._imported.get(name, f"{self.module}:{name}")

    def _at(self, place: str) -> Anatomy:
        """Of a class that is there; raises LookupError if it only comes from there."""
        module, _, attribute = place.partition(":")
        if parsed(module, attribute)[1] is None:
            raise LookupError(place)
        return replace(self, module=module, attribute=attribute)

    @cached_property
    def _imported(self) -> dict[str, str]:
        """Where the names come from that its module imports."""
        return {
            alias.asname or alias.name: f"{self._module_of(node)}:{alias.name}"
            for node in self._source[0].body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }

    def _module_of(self, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        is_package = path_of(self.module).name == "__init__.py"
        package = self.module if is_package else self.module.rpartition(".")[0]
        return resolve_name("." * node.level + (node.module or ""), package)

    @cached_property
    def _values(self) -> dict[str, ast.expr | None]:
        found: dict[str, ast.expr | None] = {}
        for node in self._source[2]:
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
            for node in self._source[2]
            if isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and "ClassVar" not in ast.unparse(node.annotation)
        }

    @cached_property
    def _hooks(self) -> set[str]:
        marked = (n for n in self._source[2] if isinstance(n, ast.FunctionDef))
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
