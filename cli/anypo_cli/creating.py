"""`anypo new`: a package with one plugin that works, to be made into another."""

from __future__ import annotations

import re
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from keyword import iskeyword
from pathlib import Path
from string import Template

from anypo.errors import AnypoError
from anypo.hooks import registry

FILES = {  # of the package, each by the template that it is made of
    "pyproject.toml": "pyproject.toml.tmpl",
    "README.md": "README.md.tmpl",
    "$module.py": "plugin.py.tmpl",
    "test_$name.py": "test_plugin.py.tmpl",
    ".github/workflows/check.yml": "check.yml.tmpl",
}


def create_package(title: str, directory: str | None) -> None:
    """Write the package of a new plugin and say what to do with it.

    Args:
        title: What it shall be called: lower-case words joined by `-`.
        directory: Where the package goes; by default, one called like it.

    Raises:
        AnypoError: It cannot have that name, or the directory is not empty.
    """
    folder = Path(directory or title)
    names = _names(title)
    _refuse_taken(names)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AnypoError(f"{folder} exists and is not empty; choose another --directory")
    for path, text in package_files(title).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        print(f"wrote {file}")
    install, name = f"pip install -e '{folder}[test]'", names["name"]
    print(f"next: {install} && pytest {folder} && anypo check {name}")


def package_files(title: str) -> dict[str, str]:
    """What every file of the package holds, by its path."""
    names = _names(title)
    return {
        Template(path).substitute(names): Template(_text(template)).substitute(names)
        for path, template in FILES.items()
    }


def _names(title: str) -> dict[str, str]:
    """What the templates leave open."""
    if not re.fullmatch(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*", title):
        raise AnypoError(
            f"'{title}' is no name for a plugin: take lower-case words of letters and digits, "
            "joined by '-', such as my-algo"
        )
    words = re.split("[-_]", title)
    if words[0] == "anypo" and len(words) > 1:  # the package is called so, not the plugin
        del words[0]
    return {
        "name": "_".join(words),
        "class_name": "".join(word.capitalize() for word in words),
        "module": "_".join(["anypo", *words]),  # so that it takes the name of no other library
        "distribution": "-".join(["anypo", *words]),
        "anypo": version("anypo"),
    }


def _refuse_taken(names: dict[str, str]) -> None:
    """Refuse the name of another plugin, of another module, and of what the module uses."""
    name, class_name, module = names["name"], names["class_name"], names["module"]
    for entry in registry.entries():
        if entry.name.replace("-", "_") == name:
            raise AnypoError(f"{entry} has that name; choose another")
    if find_spec(module):
        raise AnypoError(f"there is a module {module} already; choose another name")
    used = "\n".join(map(_text, FILES.values()))
    is_test = class_name.startswith("Test")  # pytest would collect it
    if is_test or iskeyword(class_name) or re.search(rf"\b{class_name}\b", used):
        raise AnypoError(f"a class cannot be called {class_name} here; choose another name")


def _text(template: str) -> str:
    return (files("anypo_cli") / "template" / template).read_text(encoding="utf-8")
