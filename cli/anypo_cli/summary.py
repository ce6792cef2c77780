"""What a plugin is, in one line, told without running any of it."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from anypo.errors import PluginError
from anypo.hooks.registry import Entry
from anypo.support.source import spec_of


def summary(entry: Entry) -> str:
    """The first line of the plugin's docstring, read from its source and not by running it.

    Raises:
        PluginError: As far as can be told without running it, the plugin does not import.
    """
    try:
        tree, definition = entry.parsed()
        _refuse_missing_imports(tree)
        if definition is None and entry.entry_point.attr not in _names(tree):
            raise AttributeError(f"the module does not define '{entry.entry_point.attr}'")
    except Exception as error:
        raise PluginError(f"{type(error).__name__}: {error}") from error
    text = ast.get_docstring(definition) if definition else None
    return (text or "").partition("\n")[0]


def _refuse_missing_imports(tree: ast.Module) -> None:
    for node in tree.body:
        modules = []
        match node:
            case ast.Import(names=aliases):
                modules = [alias.name for alias in aliases]
            case ast.ImportFrom(module=str(module), level=0):
                modules = [module]
        for module in modules:
            if spec_of(module.partition(".")[0]) is None:
                raise ModuleNotFoundError(f"no module named '{module}'")


def _names(tree: ast.Module) -> Iterator[str]:
    """All that the module may have as an attribute."""
    for node in ast.walk(tree):
        match node:
            case (
                ast.Name(id=name)
                | ast.FunctionDef(name=name)
                | ast.ClassDef(name=name)
                | ast.alias(asname=str(name))
                | ast.alias(name=name)
            ):
                yield name
