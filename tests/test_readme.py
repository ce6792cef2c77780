"""The README says what is true."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_plugin_it_shows_is_the_file():
    assert (ROOT / "plugins/anypo_plugins/grpo.py").read_text(encoding="utf-8") in BLOCKS


@pytest.mark.parametrize("block", BLOCKS)
def test_its_code_runs(block, quick_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), names)
    if "folder" in names:
        assert (names["folder"] / "model" / "config.json").exists()
    if "score" in names:
        assert names["score"](["p"], [" 42 "], ["42"]) == [1.0]


@pytest.mark.parametrize("package", ["core/anypo"])
def test_its_file_tree_names_every_module(package):
    modules = {path.name for path in (ROOT / package).glob("*.py")} - {"__init__.py"}
    assert {name for name in modules if f"  {name}" not in README} == set()
