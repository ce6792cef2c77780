"""Read the source of a module without running any of it. Standard library only."""

import ast
import sys
from functools import cache
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

Definition = ast.Module | ast.ClassDef | ast.FunctionDef


def parsed(module: str, attribute: str) -> tuple[ast.Module, Definition | None]:
    """The source of a module, and where that defines something; None if it does elsewhere.

    Without an attribute, the module itself is meant.

    Raises:
        Exception: There is no such module, or it is no text or no Python.
    """
    path = path_of(module)
    tree = _tree(path, path.stat().st_mtime_ns)
    defined = [node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    named = (node for node in defined if node.name == attribute)
    return tree, next(named, None) if attribute else tree


def spec_of(top: str) -> ModuleSpec | None:
    """Where a module or package is that is in no other one; None if it is nowhere."""
    return _spec(top, tuple(sys.path))


@cache
def _spec(top: str, path: tuple[str, ...]) -> ModuleSpec | None:
    return find_spec(top)


@cache
def _tree(path: Path, changed: int) -> ast.Module:
    """The source of a file as it was when it last changed."""
    return ast.parse(path.read_text(encoding="utf-8"))


def path_of(module: str) -> Path:
    """The file of a module; raises ModuleNotFoundError if there is none."""
    # find_spec would import the parents of a dotted name, so walk down from the top by path.
    top, *rest = module.split(".")
    spec = spec_of(top)
    if spec is None:
        raise ModuleNotFoundError(f"no module named '{top}'")
    places = list(spec.submodule_search_locations or [])
    path = Path(spec.origin) if spec.origin else Path(places[0], "__init__.py")
    for part in rest:
        folder = path.parent / part
        path = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    if not path.exists():
        raise ModuleNotFoundError(f"no module named '{module}'")
    return path
