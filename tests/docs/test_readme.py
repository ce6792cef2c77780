"""The README shows what is there. That its code and its commands work, test_pages.py tests."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_plugin_it_shows_is_the_file():
    plugin = (ROOT / "plugins/anypo_plugins/grpo.py").read_text(encoding="utf-8")
    assert f"```python\n{plugin}```" in README


@pytest.mark.parametrize("package", ["core/anypo"])
def test_its_file_tree_names_every_module(package):
    modules = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py"}
    assert {name for name in modules if f"  {name}" not in README} == set()
