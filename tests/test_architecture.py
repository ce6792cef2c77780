"""The import rules of the house, read from the source without running it."""

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST_FILE = 330  # lines
COMMANDS = {
    "import anypo": "import anypo",
    "anypo list": "from anypo_cli.app import main; assert main(['list']) == 0",
    "anypo --help": "from anypo_cli.app import main; assert main(['--help']) == 0",
    "anypo new": "from anypo_cli.app import main; assert main(['new', 'grpo']) == 1",
}


def files(*folders):
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found
    return found


def is_module(name):
    path = ROOT.joinpath("core", *name.split("."))
    return path.is_dir() or path.with_suffix(".py").exists()


def imports(path):
    """Every module that a file imports, wherever in the file, as dotted names."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path} has a relative import"
            parts = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {dotted if is_module(dotted) else node.module for dotted in parts.values()}
    return found


def top(module):
    return module.partition(".")[0]


def offenders(paths, is_forbidden):
    return {
        f"{path.relative_to(ROOT)}: {module}"
        for path in paths
        for module in imports(path)
        if is_forbidden(module)
    }


@pytest.mark.parametrize(
    ("foundation", "allowed"),
    [
        ("functional", ("anypo.functional",)),
        ("hooks/batch.py", ("anypo.errors", "anypo.functional", "anypo.hooks.requirements")),
    ],
)
def test_the_foundations_import_nothing_that_is_built_on_them(foundation, allowed):
    path = ROOT / "core/anypo" / foundation
    paths = [path] if path.is_file() else files(path)
    assert not offenders(paths, lambda m: top(m) == "anypo" and not m.startswith(allowed))


def test_the_registry_imports_only_the_standard_library():
    foreign = {
        name
        for name in imports(ROOT / "core/anypo/hooks/registry.py")
        if top(name) not in sys.stdlib_module_names
    }
    assert foreign == {"anypo.errors", "anypo.hooks.version", "anypo.support.sequences"}


@pytest.mark.parametrize("module", ["errors", "hooks/version", "support/sequences"])
def test_what_the_registry_imports_imports_only_the_standard_library(module):
    own = imports(ROOT / f"core/anypo/{module}.py")
    assert {top(name) for name in own} <= sys.stdlib_module_names


def test_the_core_imports_neither_plugins_nor_the_command_line():
    forbidden = {"anypo_plugins", "anypo_cli"}
    assert not offenders(files("core"), lambda module: top(module) in forbidden)


def test_plugins_import_only_public_names_and_each_other():
    def private(module):
        return top(module) in ("anypo", "anypo_cli") and module not in ("anypo", "anypo.functional")

    assert not offenders(files("plugins"), private)


def test_the_command_line_goes_through_the_registry():
    assert not offenders(files("cli"), lambda module: top(module) == "anypo_plugins")


def snake(text):
    """Words of a name or sentence, joined by `_` and in lower case."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", text)
    return "_".join(re.findall(r"[a-z0-9]+", words.lower()))


def written(path):
    """Every string and identifier of a file, docstrings and comments excepted."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    bare = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in bare and isinstance(node, ast.Constant):
            continue
        for _, value in ast.iter_fields(node):
            for text in value if isinstance(value, list) else [value]:
                if isinstance(text, str):
                    yield text


WORDS = {"entropy"}  # of everyone's vocabulary, not only a plugin's name


def test_no_algorithm_is_named_outside_the_plugins():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    algorithms = {snake(name) for name in project["entry-points"]["anypo"]} - WORDS
    assert "grpo" in algorithms
    named = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in files("core", "cli")
        for text in written(path)
        for name in algorithms
        if f"_{name}_" in f"_{snake(text)}_"
    }
    assert not named


@pytest.mark.parametrize("code", COMMANDS.values(), ids=COMMANDS)
def test_no_torch_is_imported_before_it_is_needed(code):
    script = f"{code}; import sys; print(); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    modules = set(result.stdout.splitlines()[-1].split())
    assert "anypo" in modules
    assert not modules & {"torch", "transformers", "datasets", "accelerate"}


def test_listing_imports_no_plugin():
    script = f"{COMMANDS['anypo list']}; import sys; print(); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "grpo" in result.stdout
    assert "anypo_plugins" not in result.stdout.splitlines()[-1].split()


def test_every_public_name_resolves():
    anypo = importlib.import_module("anypo")
    missing = [name for name in anypo.__all__ if getattr(anypo, name, None) is None]
    assert not missing
    assert sorted(anypo.__all__) == dir(anypo)


def test_type_checkers_see_the_public_names():
    tree = ast.parse((ROOT / "core/anypo/__init__.py").read_text(encoding="utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {alias.name for node in block.body for alias in node.names}
    assert seen == set(importlib.import_module("anypo").__all__)


def test_a_name_that_is_not_public_is_no_attribute():
    with pytest.raises(AttributeError, match="has no attribute 'grpo'"):
        _ = importlib.import_module("anypo").grpo


@pytest.mark.parametrize("folder", ["core", "plugins", "cli"])
def test_no_file_is_long(folder):
    lengths = {p.name: len(p.read_text(encoding="utf-8").splitlines()) for p in files(folder)}
    assert not {name: n for name, n in lengths.items() if n > LONGEST_FILE}
