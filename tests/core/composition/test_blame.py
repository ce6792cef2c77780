"""An error in a hook names the hook, the plugin, its distribution and the line."""

import functools
import re

import pytest
import torch

from anypo import Batch, Plugin, compose, hookimpl
from anypo.errors import PluginError, RewardError

MODULE = '''\
"""A plugin that fails."""

from anypo import hookimpl
from lamprey.helpers import bite


class Lamprey:
    """It holds on."""

    @hookimpl
    def clip(self, log_ratio, advantages):
        return bite(log_ratio * advantages)
'''


@pytest.fixture
def lamprey(install):
    """Installs a plugin whose `clip` is helped by the given code."""

    def lamprey(helpers, module=MODULE):
        files = {"lamprey/__init__.py": module, "lamprey/helpers.py": helpers}
        install("anypo-lamprey", {"lamprey": "lamprey:Lamprey"}, files, version="0.3")

    return lamprey


def refusal(*stack):
    with pytest.raises(PluginError) as caught:
        compose(*stack)
    return str(caught.value)


def test_an_exception_names_distribution_and_line(lamprey):
    lamprey("def bite(gain):\n    x = 0\n    return gain / (1 // x)\n")
    says = refusal("grpo", "lamprey")
    assert says.startswith("'clip' of plugin 'lamprey' of anypo-lamprey 0.3 failed: ZeroDivision")
    assert says.endswith("(lamprey/helpers.py:3)")


def test_an_exception_of_a_library_points_at_the_line_of_the_plugin_that_called_it(lamprey):
    lamprey("import torch\n\n\ndef bite(gain):\n    return torch.stack([gain, gain[:, :1]])\n")
    assert refusal("grpo", "lamprey").endswith("(lamprey/helpers.py:5)")


def test_a_wrong_shape_names_the_distribution_and_what_was_expected(lamprey):
    lamprey("def bite(gain):\n    return gain[:3]\n")
    says = refusal("grpo", "lamprey")
    assert "'clip' of plugin 'lamprey' of anypo-lamprey 0.3: answer is a tensor of shape" in says
    assert "expected shape [16, 7] or [16, 1]" in says


def test_an_argument_that_no_stage_has_names_the_distribution(lamprey):
    lamprey("bite = None\n", MODULE.replace("log_ratio, advantages", "log_ratios"))
    says = refusal("grpo", "lamprey")
    assert "plugin 'lamprey' of anypo-lamprey 0.3 does not fit" in says
    assert says.endswith("'clip' is given no 'log_ratios'; did you mean 'log_ratio'?")


def test_one_stage_of_a_plugin_is_blamed_like_the_whole(lamprey):
    lamprey("def bite(gain):\n    raise KeyError('gain')\n")
    with pytest.raises(PluginError, match=r"'lamprey\.clip' of anypo-lamprey 0\.3 failed: KeyErr"):
        compose("grpo", clip="lamprey")


def test_the_distribution_of_a_built_in_goes_without_saying():
    with pytest.raises(PluginError) as caught:
        compose("grpo").advantage(Batch(mask=torch.ones(2, 3)), {})
    says = str(caught.value)
    assert says.startswith("'advantage' of plugin 'grpo' failed: the batch holds no 'rewards'")
    assert re.search(r"\(anypo_plugins/policy_gradient/grpo\.py:\d+\)$", says)


def test_of_two_decorated_hooks_the_right_one_is_blamed():
    def decorated(function):
        @functools.wraps(function)
        def wrapped(self, batch):
            return function(self, batch)

        return wrapped

    def spoil(self, batch):
        raise ZeroDivisionError

    def ask(self, batch):
        return {}

    below = type("Below", (), {"regularizer": hookimpl(decorated(spoil))})
    above = type("Above", (), {"regularizer": hookimpl(decorated(ask))})
    assert "plugin 'below' failed" in refusal("grpo", below, above)
    assert "plugin 'below' failed" in refusal("grpo", above, below)


def test_a_wrapper_that_does_not_yield_is_named_with_whom_it_wraps():
    class Wrapper(Plugin):
        @hookimpl(wrapper=True)
        def clip(self):
            if False:
                yield

    assert "'clip' of plugin 'wrapper'" in refusal("grpo", Wrapper)


@pytest.mark.parametrize("error", [RewardError("of no hook"), torch.OutOfMemoryError("full")])
def test_what_is_not_the_plugins_fault_is_not_blamed_on_it(error):
    class Innocent(Plugin):
        @hookimpl
        def weight(self, batch):
            raise error

    with pytest.raises(type(error)) as caught:
        compose("grpo", Innocent)
    assert caught.value is error
