"""The README shows what is there. That its code and its commands work, test_pages.py tests."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
HOUSE = re.search(r"## The house.*?```\n(.*?)```", README, re.DOTALL)[1].splitlines()


def folders(path):
    found = {p.name for p in (ROOT / path).iterdir() if p.is_dir() and any(p.glob("*.py"))}
    assert found
    return found


def test_the_plugin_it_shows_is_the_file():
    plugin = (ROOT / "plugins/anypo_plugins/policy_gradient/grpo.py").read_text(encoding="utf-8")
    assert f"```python\n{plugin}```" in README


def test_its_house_has_every_wing_and_no_other():
    wings = {name for line in HOUSE for name in re.findall(r"^  ((?:\w+/\s+)+)", line)}
    named = {name.strip("/") for part in wings for name in part.split()}
    assert named == folders("core/anypo")


def test_its_house_names_every_package_of_plugins():
    assert not [name for name in folders("plugins") if name not in "\n".join(HOUSE)]


def test_its_house_fits_twenty_lines():
    assert len(HOUSE) <= 20
