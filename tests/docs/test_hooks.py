"""docs/hooks.md tells every hook as it is."""

import inspect
import re
from pathlib import Path

import generate
import pytest

from anypo import Batch, Prompt, Sample
from anypo.hooks.requirements import REQUIREMENTS
from anypo.hooks.specs import HOOKS, MERGED, Hooks

PAGE = (Path(generate.__file__).with_name("hooks.md")).read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^### `(\w+)(\(.*?(?=^##|\Z))", PAGE, re.MULTILINE | re.DOTALL))


def test_it_has_every_hook_and_no_other():
    assert tuple(SECTIONS) == HOOKS


@pytest.mark.parametrize("hook", HOOKS)
def test_the_signature_and_the_question_of_a_hook(hook):
    function, section = getattr(Hooks, hook), SECTIONS[hook]
    arguments = list(inspect.signature(function).parameters)[1:]
    assert section.startswith(f"({', '.join(arguments)})`\n")
    assert re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE) == arguments
    assert inspect.getdoc(function) in section
    assert ("All plugins are asked" in section) == (hook in MERGED)


def test_every_argument_is_explained_and_no_other():
    arguments = {
        name for hook in HOOKS for name in inspect.signature(getattr(Hooks, hook)).parameters
    }
    assert generate.ARGUMENTS.keys() == arguments - {"self"}


@pytest.mark.parametrize("owner", [Batch, Prompt, Sample])
def test_it_has_every_field_of_what_hooks_are_given(owner):
    section = PAGE.partition(f"\n## {owner.__name__}\n")[2].partition("\n## ")[0]
    assert {f"`{name}`" for name in inspect.get_annotations(owner)} <= set(section.split())


def test_it_has_every_requirement():
    section = PAGE.partition("\n## Requirements\n")[2].partition("\n## ")[0]
    assert {f"`{name}`" for name in REQUIREMENTS} <= set(section.split())


def test_it_is_what_the_code_says_now():
    tables = [generate.hooks(), generate.requirements()]
    tables += [generate.fields(owner) for owner in (Batch, Prompt, Sample)]
    for table in tables:
        assert table in PAGE, "cog -I docs -r docs/hooks.md"
