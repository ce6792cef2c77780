"""A plugin without stages is a name for a stack and its knobs; anybody may have some."""

import sys

import pytest

from anypo import compose
from anypo.errors import PluginError
from anypo.runs.changes import differences
from anypo.runs.provenance import describe

MODULE = '''\
from typing import ClassVar

from anypo import Plugin


class Shy(Plugin):
    """Small groups, bounded."""

    extends: ClassVar = {bases}

    group_size: int = {size}
'''


@pytest.fixture
def shy(install, monkeypatch):
    """Installs an alias of a third party, each time in the place of the one before."""

    def again(*bases, size=4):
        monkeypatch.delitem(sys.modules, "shy_module", raising=False)
        files = {"shy_module.py": MODULE.format(bases=bases, size=size)}
        install("anypo-shy", {"shy": "shy_module:Shy"}, files)

    again("grpo", "dual_clip")
    return again


def stack(algorithm):
    return [layer.name for layer in algorithm.layers]


def test_its_name_stands_for_its_stack(shy):
    assert stack(compose("shy")) == ["grpo", "dual_clip", "shy"]
    assert stack(compose("shy+entropy")) == ["grpo", "dual_clip", "shy", "entropy"]
    assert compose("shy", weight="dapo").name == "shy[weight=dapo]"


def test_its_values_are_defaults_and_say_so(shy):
    knob = compose("shy").knobs["group_size"]
    assert (knob.value, knob.origin) == (4, "default of shy")
    assert knob.description == compose("grpo").knobs["group_size"].description
    assert compose("shy", knobs={"group_size": 3}).knobs["group_size"].value == 3


def test_the_stage_of_a_part_can_be_taken_by_its_name(shy):
    swapped = compose("reinforce_pp", clip="shy")
    assert [answer.plugin for answer in swapped.explain().answers if answer.stage == "clip"] == [
        "dual_clip",
        "ppo",
    ]


def test_what_it_lacks_is_named(shy, monkeypatch):
    monkeypatch.setenv("ANYPO_DISABLE_PLUGINS", "dual_clip")
    with pytest.raises(PluginError, match=r"'dual_clip' of anypo .* is disabled"):
        compose("shy")


def test_that_it_stands_for_something_else_is_told_when_a_run_is_repeated(shy):
    old = describe(compose("shy"))
    shy("grpo", "tis")
    found = differences(old, describe(compose("shy")))
    assert any("'shy' of anypo-shy 1.0: the file that defines it has changed" in s for s in found)
    assert any(s.startswith("plugin 'dual_clip' of anypo") and "not there" in s for s in found)
    assert any(s.startswith("plugin 'tis' of anypo") and "new in the stack" in s for s in found)
