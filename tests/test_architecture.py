"""The rules of the house."""

import ast
import importlib
import os
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LONGEST_FILE = 330  # lines
LONGEST_FUNCTION = 50
PACKAGES = ("core", "plugins", "cli")
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
COMMANDS = {
    "import anypo": "import anypo",
    "anypo list": "from anypo_cli.app import main; assert main(['list']) == 0",
    "anypo --help": "from anypo_cli.app import main; assert main(['--help']) == 0",
    "anypo new": "from anypo_cli.app import main; assert main(['new', 'grpo']) == 1",
    **{
        f"anypo {command}": f"from anypo_cli.app import main; assert main({command.split()}) == 1"
        for command in (
            "run grop",
            "explain grop",
            "diff grpo grop",
            "check grop",
            "run grpo --hook clip=grop",
            "run grpo --sampler vlm",
        )
    },
}


def files(*folders):
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert found
    return found


VIOLATIONS = {  # of each contract one, as an import appended to a file
    "A wing imports those below it": ("core/anypo/data/load.py", "import anypo.training.trainer"),
    "The command line and the plugins": (
        "core/anypo/runs/run.py",
        "import anypo_plugins.policy_gradient.grpo",
    ),
    "Plugins import public names alone": (
        "plugins/anypo_vllm/plugin.py",
        "import anypo.hooks.batch",
    ),
    "The heart does without": ("core/anypo/hooks/batch.py", "import transformers"),
    "One file knows accelerate": ("core/anypo/runs/setup.py", "import accelerate"),
    "The registry does without torch": ("core/anypo/hooks/registry.py", "import torch"),
    "No circle between files": ("core/anypo/runs/recipe.py", "import anypo.runs.run"),
}


def lint_imports(root):
    """What import-linter says of the packages below a folder; each contract on one line."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(str(root / name) for name in PACKAGES)}
    result = subprocess.run(
        [sys.executable, "-c", LINT, "--config", str(ROOT / "pyproject.toml"), "--no-cache"],
        capture_output=True,
        text=True,
        env={**env, "COLUMNS": "200"},
    )
    return result.stdout + result.stderr


def test_the_import_contracts_are_kept_and_each_is_broken_by_what_it_forbids(tmp_path):
    assert f"{len(VIOLATIONS)} kept, 0 broken" in lint_imports(ROOT)
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package)
    for path, statement in VIOLATIONS.values():
        with (tmp_path / path).open("a") as file:
            file.write(f"{statement}\n")
    said = lint_imports(tmp_path)
    assert not [contract for contract in VIOLATIONS if not re.search(f"{contract}.* BROKEN", said)]


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


def test_no_algorithm_nor_vllm_is_named_outside_the_plugins():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    algorithms = {snake(name) for name in project["entry-points"]["anypo"]} - WORDS
    assert "grpo" in algorithms
    algorithms.add("vllm")
    any_of_them = re.compile(f"_({'|'.join(sorted(algorithms))})_")
    named = {
        f"{path.relative_to(ROOT)}: {found[1]}"
        for path in files("core", "cli")
        for text in written(path)
        if (found := any_of_them.search(f"_{snake(text)}_"))
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


UNUSED = {
    "datasets",
    "pandas",
    "pyarrow",
    "peft",
    "bitsandbytes",
    "scipy",
    "sklearn",
    "math_verify",
}


def test_a_run_imports_nothing_that_its_options_do_not_need(quick_cache, tmp_path):
    options = {"steps": 1, "prompts_per_step": 2, "output": str(tmp_path / "run"), "device": "cpu"}
    script = f"import anypo, sys; anypo.run('grpo', **{options}); print(); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    modules = set(result.stdout.splitlines()[-1].split())
    assert "transformers" in modules
    assert not modules & {*UNUSED, "transformers.trainer"}


@pytest.mark.parametrize(
    ("command", "unused"),
    [
        ("list", {"anypo_plugins", "pydantic"}),
        ("run grpo --help", {"transformers", "datasets", "accelerate"}),
        ("explain grpo", {"transformers", "datasets", "accelerate"}),
    ],
)
def test_what_is_only_told_imports_little(command, unused):
    run = f"from anypo_cli.app import main; assert main({command.split()}) == 0"
    script = f"{run}; import sys; print(); print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "grpo" in result.stdout
    assert not unused & set(result.stdout.splitlines()[-1].split())


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


def functions(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def test_functions_are_short():
    lengths = {
        f"{path.name}:{node.name}": node.end_lineno - node.lineno + 1
        for path in files("core")
        for node in functions(path)
    }
    assert not {name: n for name, n in lengths.items() if n > LONGEST_FUNCTION}
    assert statistics.median(lengths.values()) <= 8


def test_the_core_has_few_rooms():
    rooms = [path for path in (ROOT / "core/anypo").iterdir() if path.name != "__pycache__"]
    assert len(rooms) <= 16


@pytest.mark.parametrize("folder", PACKAGES)
def test_no_file_is_long(folder):
    lengths = {p.name: len(p.read_text(encoding="utf-8").splitlines()) for p in files(folder)}
    assert not {name: n for name, n in lengths.items() if n > LONGEST_FILE}
