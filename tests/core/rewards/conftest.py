import sys

import pytest


@pytest.fixture
def folder(tmp_path):
    """An empty directory; what was imported from it is forgotten."""
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def file(folder):
    """Write Python to a file and return its path."""

    def file(code, name="my_rewards.py"):
        (folder / name).write_text(code, encoding="utf-8")
        return str(folder / name)

    return file
