"""One line of every plugin, read from its source."""

import pytest

from anypo.errors import PluginError
from anypo.hooks import registry
from anypo_cli.summary import summary

LAMPREY = '''\
"""A module."""


class Lamprey:
    """It holds on.

    And on.
    """
'''
MODULE = {"lamprey": "lamprey_module:Lamprey"}
PACKAGE = {"eel": "eels.river:Lamprey"}


def of(name, kind=registry.ALGORITHM):
    return summary(registry.find(name, kind))


def test_it_is_the_first_docstring_line(install):
    install("anypo-lamprey", MODULE, {"lamprey_module.py": LAMPREY})
    assert of("lamprey") == "It holds on."


def test_it_runs_no_code_of_the_plugin(install, tmp_path):
    ran = tmp_path / "ran"
    touches = f"from pathlib import Path\n\nPath({str(ran)!r}).touch()\n"
    files = {"eels/__init__.py": touches, "eels/river.py": touches + LAMPREY}
    install("anypo-eel", PACKAGE, files)
    assert of("eel") == "It holds on."
    assert not ran.exists()
    registry.load("eel")
    assert ran.exists()


def test_that_of_an_undocumented_plugin_is_empty(install):
    install("anypo-lamprey", MODULE, {"lamprey_module.py": "class Lamprey:\n    x = 1\n"})
    assert of("lamprey") == ""


def test_that_of_a_module_is_its_own(install):
    install("anypo-lamprey", {"lamprey": "lamprey_module"}, {"lamprey_module.py": LAMPREY})
    assert of("lamprey") == "A module."


@pytest.mark.parametrize(
    "module",
    [
        "from eels.river import Lamprey\n",
        "from eels.river import Lamprey as Other\nfrom eels.river import Lamprey\n",
        "import eels.river\nLamprey = eels.river.Lamprey",
        "import eels.river as Lamprey\n",
    ],
)
def test_a_plugin_that_its_module_does_not_define_but_has_is_not_broken(install, module):
    files = {"eels/__init__.py": module, "eels/river.py": LAMPREY}
    install("anypo-eel", {"eel": "eels:Lamprey"}, files)
    assert of("eel") in ("", "It holds on.")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("import absent_package\n" + LAMPREY, "absent_package"),
        ("from absent_package.part import x\n" + LAMPREY, "absent_package"),
        ("class Lamprey(:\n", "SyntaxError"),
        ('"""A module."""\n', "Lamprey"),
        ("import os as Other\nfrom sys import path as Third\n", "Lamprey"),
        (None, "lamprey_module"),
    ],
)
def test_that_of_a_broken_plugin_says_what_is_wrong_and_hurts_no_other(install, text, says):
    install("anypo-lamprey", MODULE, {} if text is None else {"lamprey_module.py": text})
    with pytest.raises(PluginError, match=says):
        of("lamprey")
    assert of("grpo").startswith("PPO without a critic")


def test_a_module_missing_from_its_package_is_broken(install):
    install("anypo-eel", {"eel": "eels.pond:Lamprey"}, {"eels/__init__.py": ""})
    with pytest.raises(PluginError, match=r"eels\.pond"):
        of("eel")


def test_an_optional_import_does_not_make_a_plugin_broken(install):
    text = "try:\n    import absent_package\nexcept ImportError:\n    absent_package = None\n"
    install("anypo-lamprey", MODULE, {"lamprey_module.py": text + LAMPREY})
    assert of("lamprey") == "It holds on."


@pytest.mark.parametrize("distribution", ["anypo-brook", "anypo-sea"])
def test_two_that_claim_one_name_have_each_its_own(install, distribution):
    for rival in ("anypo-brook", "anypo-sea"):
        module = rival.replace("-", "_")
        text = LAMPREY.replace("It holds on.", rival)
        install(rival, {"lamprey": f"{module}:Lamprey"}, {f"{module}.py": text})
    assert of(f"{distribution}:lamprey") == distribution


def test_that_of_a_plugin_for_a_newer_hook_api_is_read_all_the_same(install):
    text = LAMPREY + '\n    hook_api = "2.0"\n\n\nraise RuntimeError\n'
    install("anypo-lamprey", MODULE, {"lamprey_module.py": text})
    assert of("lamprey") == "It holds on."


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_kind_has_some(install, kind):
    text = '"""A module."""\n\n\ndef lamprey(argument):\n    """It holds on."""\n'
    others = {registry.KINDS[kind]: {"lamprey": "lamprey_module:lamprey"}}
    install("anypo-lamprey", {}, {"lamprey_module.py": text}, others=others)
    assert of("lamprey", kind) == "It holds on."
    assert all(summary(e) for e in registry.entries(kind) if e.distribution == "anypo")
