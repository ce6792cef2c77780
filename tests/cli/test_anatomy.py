"""What an algorithm changes, as its source says, is what `anypo diff` says when it is composed."""

import ast

import pytest

from anypo.hooks import registry
from anypo.hooks.specs import STAGES
from anypo.testing.neutral import NeutralBase
from anypo.testing.subject import Subject
from anypo_cli.anatomy import anatomies
from anypo_cli.diffing import differences

NAMES = [entry.name for entry in registry.entries() if entry.distribution == "anypo"]
ANATOMIES = anatomies()
CHANGING = [name for name in NAMES if str(ANATOMIES[name])]


def explained(*names):
    """Of a modifier, on a neutral algorithm."""
    return Subject(names, {}, None).algorithm.explain()


@pytest.mark.parametrize("name", CHANGING)
def test_it_is_what_the_difference_to_its_bases_says(name):
    anatomy, own = ANATOMIES[name], explained(name)
    rows = differences([explained(*(anatomy.bases or [NeutralBase])), own])
    said = {stage for stage, _, other in rows if f"{name}: " in other or f"{name} (wr" in other}
    assert said & set(STAGES) <= set(anatomy.stages)
    silent = set(anatomy.stages) - said  # such as a penalty whose weight is 0
    assert silent <= {"regularizer"}
    assert not [a for a in own.answers if a.plugin == name and a.stage in silent]
    values = {knob.name: knob.value for knob in own.knobs}
    assert {k: ast.literal_eval(v) for k, v in anatomy.defaults.items()} == {
        k: values[k] for k in anatomy.defaults
    }


def test_what_changes_nothing_is_a_whole_algorithm():
    assert all(Subject((name,), {}, None).algorithm for name in set(NAMES) - set(CHANGING))
    assert not [n for n in set(NAMES) - set(CHANGING) if Subject((n,), {}, None).has_base]


MODULE = '''\
import typing as t

import pydantic
from anypo import Plugin, hookimpl
from anypo_plugins.policy_gradient.grpo import GRPO as Base


class Part(Plugin):
    extends = (Base,)

    @hookimpl
    def ratio(self):
        """log r."""


class Eel(Plugin):
    extends: t.ClassVar = (Part, "dual-clip")
    clip_low: float = pydantic.Field(0.1, gt=0)
    group_size: int = 8
    kl_coef: float
    own: float = 1.0

    @hookimpl(wrapper=True)
    def clip(self):
        return (yield)

    def helper(self):
        pass
'''


def test_a_class_that_is_no_plugin_is_a_part_of_what_extends_it(install):
    install("anypo-eel", {"eel": "eel:Eel"}, {"eel.py": MODULE})
    assert str(anatomies()["eel"]) == "grpo+dual_clip: ratio, clip; clip_low=0.1"


DERIVED = """\
from .water import Water


class Eel(Water):
    kl_coef: float = 0.5
"""
WATER = """\
from anypo import hookimpl
from anypo_plugins.policy_gradient.dr_grpo import DrGRPO


class Water(DrGRPO):
    @hookimpl
    def ratio(self):
        return 0
"""


def test_what_a_class_derives_from_is_a_part_of_it_wherever_that_is(install):
    files = {"pond/__init__.py": "", "pond/eel.py": DERIVED, "pond/water.py": WATER}
    install("anypo-eel", {"eel": "pond.eel:Eel"}, files)
    assert str(anatomies()["eel"]) == "grpo: advantage, ratio, weight; kl_coef=0.5"


@pytest.mark.parametrize(
    "module",
    [
        "class Eel(:\n",
        'class Eel:\n    extends = ("eel",)\n',
        "from absent import Base\n\n\nclass Eel:\n    extends = (Base,)\n",
    ],
)
def test_what_cannot_be_read_has_none_and_hurts_no_other(install, module):
    install("anypo-eel", {"eel": "eel:Eel"}, {"eel.py": module})
    assert "eel" not in anatomies()
    assert str(anatomies()["gspo_token"]) == "gspo: ratio"


def test_that_of_what_is_defined_elsewhere_is_not_known(install):
    install("anypo-eel", {"eel": "eel:Eel"}, {"eel.py": "from pond import Eel\n", "pond.py": ""})
    assert str(anatomies()["eel"]) == ""
