"""Which algorithms belong together: those of one folder, and those that stand on one another."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from rich.text import Text
from rich.tree import Tree

from anypo.hooks import registry
from anypo.support.source import parsed
from anypo_cli.anatomy import Anatomy
from anypo_cli.printing import plain

Known = Mapping[str, Anatomy]  # by name


def family(entry: registry.Entry) -> str:
    """The folder of a package in which an algorithm lies; nothing if it lies in none."""
    package = entry.entry_point.module.rpartition(".")[0]
    return package.partition(".")[2] if entry.kind == registry.ALGORITHM else ""


def heading(entry: registry.Entry) -> str:
    """What stands above the algorithms of its family, or else of its distribution."""
    if entry.kind != registry.ALGORITHM:
        return ""
    if not (name := family(entry)):
        return f"{entry.distribution} {entry.version}"
    try:
        package = parsed(entry.entry_point.module.rpartition(".")[0], "")[0]
        line = (ast.get_docstring(package) or "").partition("\n")[0]
    except Exception:  # it is broken, which the list says
        line = ""
    return ": ".join(filter(None, (name, line)))


def above(name: str, among: Known) -> list[list[str]]:
    """The lines of algorithms that lead up to one, each from the first to itself."""
    bases = [base for base in among[name].bases if base in among]
    return [[*line, name] for base in bases for line in above(base, among)] or [[name]]


def below(name: str, among: Known) -> list[str]:
    """The algorithms that extend one."""
    return [other for other, anatomy in among.items() if name in anatomy.bases]


def trees(name: str, among: Known) -> Iterator[Tree]:
    """The family of an algorithm: what it stands on, and what stands on it."""
    for i, (first, *others) in enumerate(above(name, among)):
        root = node = Tree(_label(first, among))
        for other in others:
            node = node.add(_label(other, among))
        if i == 0:
            _add_below(node, name, among)
        yield root


def _add_below(node: Tree, name: str, among: Known) -> None:
    """Those that have others on them get a branch, the rest of them one for all."""
    children = {child: below(child, among) for child in below(name, among)}
    leaves = [child for child, others in children.items() if not others]
    if leaves:
        node.add(plain(", ".join(leaves)))
    for child in (child for child, others in children.items() if others):
        _add_below(node.add(_label(child, among)), child, among)


def _label(name: str, among: Known) -> Text:
    return Text("  ").join([plain(name, "bold"), plain(among[name], "dim")])
