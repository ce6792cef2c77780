"""Plugins that are named by where they are defined."""

import os

import pytest

from anypo import compose
from anypo.errors import PluginError
from anypo.hooks import registry

SOFT = '''
"""A file of one's own."""

from typing import ClassVar

from anypo import Plugin, hookimpl


class Soft(Plugin):
    """A soft clip."""

    extends: ClassVar = ("grpo",)
    tau: float = 1.0

    @hookimpl
    def clip(self, log_ratio, advantages):
        """tau tanh(log r / tau) A; [N, T]."""
        return self.tau * (log_ratio / self.tau).tanh() * advantages
'''
TWO = (
    SOFT
    + '''

class Softer(Plugin):
    extends: ClassVar = (Soft,)
    tau: float = 2.0


class _Helper(Plugin):
    """Not meant for others."""
'''
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Writes files into the directory in which everything runs."""
    monkeypatch.chdir(tmp_path)

    def write(name, text):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    return write


@pytest.mark.parametrize("name", ["soft.py:Soft", "soft.py", "./soft.py:Soft"])
def test_a_class_of_a_file_is_a_plugin_by_its_place(here, name):
    here("soft.py", SOFT)
    algorithm = compose(name)
    assert algorithm.name == (name if ":" in name else f"{name}:Soft")
    assert compose(algorithm.name).knobs["tau"].origin == f"default of {algorithm.name}"


def test_it_stands_in_a_stack_or_lends_a_stage(here):
    here("soft.py", SOFT)
    assert compose("dapo+soft.py:Soft+tis", knobs={"tau": 3.0}).knobs["tau"].value == 3.0
    swapped = compose("rloo", clip="soft.py")
    assert swapped.name == "rloo[clip=soft.py]"
    assert [a.plugin for a in swapped.explain().answers if a.stage == "clip"] == ["soft.py:Soft"]


def test_a_module_that_can_be_imported_is_one_too(here, monkeypatch, tmp_path):
    here("soft_module_of_tests.py", SOFT)
    monkeypatch.syspath_prepend(tmp_path)
    assert compose("soft_module_of_tests:Soft").name == "soft_module_of_tests:Soft"


def test_one_name_is_one_class_as_long_as_the_file_stays_as_it_is(here):
    here("soft.py", SOFT)
    first, again = (compose("soft.py:Soft").layers[-1].source for _ in range(2))
    assert first is again
    here("soft.py", SOFT.replace("tau: float = 1.0", "tau: float = 10.0"))
    assert compose("soft.py:Soft").knobs["tau"].value == 10.0


def test_files_of_one_name_do_not_take_each_others_place(here):
    here("a/soft.py", SOFT)
    here("b/soft.py", SOFT.replace("tau: float = 1.0", "tau: float = 7.0"))
    sources = [compose(f"{folder}/soft.py:Soft").layers[-1].source for folder in "ab"]
    assert len({source.__module__ for source in sources}) == 2
    assert [source.model_fields["tau"].default for source in sources] == [1.0, 7.0]


def test_of_several_classes_one_has_to_be_named(here):
    here("two.py", TWO)
    assert compose("two.py:Softer").knobs["tau"].value == 2.0
    with pytest.raises(PluginError, match=r"'two.py' defines Soft and Softer: write 'two.py:Soft'"):
        compose("two.py")


def test_what_is_not_there_is_named(here):
    here("none.py", "x = 1\n")
    here("soft.py", SOFT)
    here("broken.py", "import nonsense_that_is_not_there\n")
    for name, words in (
        ("nowhere.py:Soft", "no file 'nowhere.py'"),
        ("soft.py:Sofd", "'soft.py' defines no plugin 'Sofd'; did you mean 'Soft'"),
        ("none.py", "'none.py' defines no plugin"),
        ("none.py:x", "1 is no plugin: it answers no stage"),
        ("broken.py:Soft", r"plugin 'broken.py' cannot be imported.*broken.py:1"),
        ("other-package:grpo", "there is no plugin 'other-package:grpo'"),
        ("no_such_module:grpo", "there is no plugin 'no_such_module:grpo'"),
    ):
        with pytest.raises(PluginError, match=words):
            compose(name)


def test_an_error_of_its_hook_says_in_which_line(here):
    here("soft.py", SOFT.replace("log_ratio / self.tau", "log_ratio / undefined"))
    with pytest.raises(
        PluginError, match=r"'clip' of plugin 'soft.py:Soft' failed.*\(soft.py:18\)"
    ):
        compose("soft.py:Soft")


def test_to_know_that_a_name_stands_for_code_none_of_it_is_run(here):
    here("evil.py", "import os\nos.mkdir('ran')\n")
    assert registry.names_code("evil.py:Soft")
    assert registry.names_code("evil:Soft")
    assert not registry.names_code("grpo")
    assert not registry.names_code("anypo:grpo")
    assert not os.path.exists("ran")
