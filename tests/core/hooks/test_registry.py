"""The registry finds what is installed, whatever else is installed beside it."""

import sys
from pathlib import Path

import pytest

from anypo import HOOK_API_VERSION
from anypo.errors import PluginError
from anypo.hooks import registry
from anypo_plugins.policy_gradient.grpo import GRPO

PLUGIN = '''\
"""A module."""


class Lamprey:
    """It holds on.

    And on.
    """
'''


def offered(name):
    return [entry for entry in registry.entries() if entry.name == name]


def test_a_built_in_algorithm_is_found_by_its_name():
    assert registry.load("grpo") is GRPO


def test_an_installed_plugin_is_found_by_its_name(install):
    install("anypo-lamprey", {"lamprey": "lamprey_module:Lamprey"}, {"lamprey_module.py": PLUGIN})
    entry = registry.find("lamprey")
    assert (entry.distribution, entry.version) == ("anypo-lamprey", "1.0")
    assert entry.load().__name__ == "Lamprey"


def test_a_plugin_in_a_package_is_found(install):
    install("anypo-eel", {"eel": "eels.river:Lamprey"}, {"eels/__init__.py": ""} | river(PLUGIN))
    assert registry.load("eel").__module__ == "eels.river"


def river(text):
    return {"eels/river.py": text}


@pytest.mark.parametrize("name", ["sea-lamprey", "sea_lamprey", "Sea-Lamprey"])
@pytest.mark.parametrize("registered", ["sea-lamprey", "sea_lamprey"])
def test_hyphens_underscores_and_case_are_the_same(install, registered, name):
    install("anypo-lamprey", {registered: "lamprey_module:Lamprey"})
    assert registry.find(name).name == registered


def test_other_entry_point_groups_are_not_listed(install):
    info = install("anypo-lamprey", {})
    (info / "entry_points.txt").write_text("[console_scripts]\nlamprey = lamprey_module:main\n")
    install.forget()
    assert not offered("lamprey")


def test_the_listing_is_sorted_by_name(install):
    install("anypo-zander", {"zander": "zander:Z", "aal": "zander:A"})
    names = [entry.name for entry in registry.entries()]
    assert names == sorted(names)
    assert {"zander", "aal", "grpo"} <= set(names)


def test_a_module_can_be_the_plugin(install):
    install("anypo-lamprey", {"lamprey": "lamprey_module"}, {"lamprey_module.py": PLUGIN})
    assert registry.load("lamprey").__name__ == "lamprey_module"


@pytest.mark.parametrize(
    "module",
    ["from eels.river import Lamprey\n", "import eels.river\nLamprey = eels.river.Lamprey"],
)
def test_a_plugin_that_its_module_does_not_define_but_has_is_not_broken(install, module):
    install("anypo-eel", {"eel": "eels:Lamprey"}, {"eels/__init__.py": module} | river(PLUGIN))
    assert registry.load("eel").__name__ == "Lamprey"


BROKEN = {
    "missing package": ("import absent_package\n" + PLUGIN, "absent_package"),
    "missing submodule": ("from absent_package.part import x\n" + PLUGIN, "absent_package"),
    "syntax error": ("class Lamprey(:\n", "SyntaxError"),
    "missing attribute": ('"""A module."""\n', "Lamprey"),
    "missing module": (None, "lamprey_module"),
}


@pytest.fixture(params=BROKEN.values(), ids=BROKEN)
def broken(request, install):
    """Install a broken plugin beside a sound one; what its errors must say."""
    text, says = request.param
    files = {} if text is None else {"lamprey_module.py": text}
    install("anypo-lamprey", {"lamprey": "lamprey_module:Lamprey"}, files, version="0.3")
    return says


def test_loading_a_broken_plugin_names_its_distribution_and_the_cause(broken):
    with pytest.raises(PluginError, match=rf"'lamprey' of anypo-lamprey 0\.3 .*{broken}"):
        registry.load("lamprey")


def test_a_broken_plugin_hurts_no_other(broken):
    assert registry.load("grpo") is GRPO


def test_a_plugin_that_raises_on_import_is_broken(install):
    files = {"lamprey_module.py": "raise RuntimeError('out of water')\n"}
    install("anypo-lamprey", {"lamprey": "lamprey_module:Lamprey"}, files)
    with pytest.raises(PluginError, match="RuntimeError: out of water"):
        registry.load("lamprey")


def test_a_malformed_entry_points_file_hurts_no_other(install):
    info = install("unrelated", {})
    (info / "entry_points.txt").write_text("[console_scripts]\na line that is no entry point\n")
    install.forget()
    assert registry.load("grpo") is GRPO


def test_a_distribution_without_metadata_hurts_no_other(install):
    info = install("anypo-lamprey", {"grpo": "lamprey_module:Lamprey"})
    (info / "METADATA").unlink()
    install.forget()
    assert registry.load("anypo:grpo") is GRPO


@pytest.fixture
def twice(install):
    """Two distributions that offer one name."""
    for distribution in ("anypo-brook", "anypo-sea"):
        module = distribution.replace("-", "_")
        text = PLUGIN.replace("It holds on.", distribution)
        install(distribution, {"lamprey": f"{module}:Lamprey"}, {f"{module}.py": text})


def test_the_listing_shows_both_distributions_that_claim_a_name(twice):
    assert [e.distribution for e in offered("lamprey")] == ["anypo-brook", "anypo-sea"]


def test_using_a_name_that_two_distributions_claim_is_an_error_naming_both(twice):
    with pytest.raises(PluginError, match=r"anypo-brook 1\.0 and anypo-sea 1\.0") as caught:
        registry.find("lamprey")
    assert "'anypo-brook:lamprey' or 'anypo-sea:lamprey'" in str(caught.value)


@pytest.mark.parametrize("distribution", ["anypo-sea", "anypo_sea"])
def test_a_distribution_and_a_name_pick_one(twice, distribution):
    assert registry.load(f"{distribution}:lamprey").__module__ == "anypo_sea"


def test_a_distribution_can_claim_the_name_of_a_built_in(install):
    install("anypo-rival", {"grpo": "rival:GRPO"}, {"rival.py": PLUGIN.replace("Lamprey", "GRPO")})
    with pytest.raises(PluginError, match=r"anypo .* and anypo-rival"):
        registry.load("grpo")
    assert registry.load("anypo:grpo") is GRPO


def test_a_wrong_distribution_suggests_the_right_one(twice):
    with pytest.raises(PluginError, match="did you mean 'anypo-sea:lamprey'"):
        registry.find("anypo-see:lamprey")


def test_of_a_distribution_found_twice_the_one_that_is_imported_is_listed(install):
    point, files = {"lamprey": "lamprey_module:Lamprey"}, {"lamprey_module.py": PLUGIN}
    install("anypo-lamprey", point, files, version="1.0", place="below")
    install("anypo-lamprey", point, files, version="2.0", place="above")
    assert Path(sys.path[0]).name == "above"
    assert [entry.version for entry in offered("lamprey")] == ["2.0"]


def test_a_missing_name_suggests_the_nearest(install):
    install("anypo-lamprey", {"lamprey": "lamprey_module:Lamprey"})
    with pytest.raises(PluginError, match=r"no plugin 'lampray'; did you mean 'lamprey'"):
        registry.find("lampray")


def test_a_name_like_no_other_lists_what_there_is():
    with pytest.raises(
        PluginError, match=r"no plugin 'zzzzzzzz'; `anypo list` shows the \d+ that there are$"
    ):
        registry.find("zzzzzzzz")


@pytest.mark.parametrize(
    "item", ["anypo-sea:lamprey", "anypo_sea:Lamprey", "anypo-sea:*", "x, anypo-sea:lamprey,"]
)
def test_a_disabled_plugin_is_as_if_it_were_not_installed(twice, monkeypatch, item):
    monkeypatch.setenv("ANYPO_DISABLE_PLUGINS", item)
    assert registry.find("lamprey").distribution == "anypo-brook"
    assert [entry.disabled_by != "" for entry in offered("lamprey")] == [False, True]
    assert not any(entry.disabled_by for entry in offered("grpo"))


@pytest.mark.parametrize(
    ("item", "name"), [("lamprey", "lamprey"), ("anypo-sea:*", "anypo-sea:lamprey")]
)
def test_naming_a_disabled_plugin_says_by_what_it_is_disabled(twice, monkeypatch, item, name):
    monkeypatch.setenv("ANYPO_DISABLE_PLUGINS", item)
    with pytest.raises(PluginError) as caught:
        registry.find(name)
    assert "plugin 'lamprey' of anypo-" in str(caught.value)
    assert f"is disabled by '{item}' in ANYPO_DISABLE_PLUGINS" in str(caught.value)


def test_a_disabled_name_is_not_suggested(monkeypatch):
    monkeypatch.setenv("ANYPO_DISABLE_PLUGINS", "grpo")
    with pytest.raises(PluginError) as caught:
        registry.find("grpoo")
    assert "'grpo'" not in str(caught.value)


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ("gropo", "'gropo', which is not installed; did you mean 'grpo'?"),
        ("anypoo:grpo", "did you mean 'anypo:grpo'?"),
        ("anypoo:*", "did you mean 'anypo:*'?"),
        ("*", "'*', which is not installed"),
    ],
)
def test_disabling_what_is_not_installed_is_said(monkeypatch, items, says):
    monkeypatch.setenv("ANYPO_DISABLE_PLUGINS", f"grpo,{items}")
    (sentence,) = registry.ineffective()
    assert says in sentence


def test_nothing_is_disabled_by_an_empty_variable(monkeypatch):
    monkeypatch.setenv("ANYPO_DISABLE_PLUGINS", " , ")
    assert registry.ineffective() == []
    assert registry.find("grpo").disabled_by == ""


def class_with(line):
    return f"from typing import ClassVar\n\n{PLUGIN}\n    {line}\n\n"


@pytest.mark.parametrize("version", ["1.1", "2.0", "10.0"])
@pytest.mark.parametrize("hint", ["", ": ClassVar[str]"])
def test_a_plugin_for_a_newer_hook_api_is_refused_before_it_runs(install, version, hint):
    text = class_with(f'hook_api{hint} = "{version}"') + "raise RuntimeError\n"
    install("anypo-lamprey", {"lamprey": "lamprey_module:Lamprey"}, {"lamprey_module.py": text})
    with pytest.raises(PluginError) as caught:
        registry.load("lamprey")
    says = str(caught.value)
    assert says.startswith("plugin 'lamprey' of anypo-lamprey 1.0 needs a newer anypo")
    assert f"hook API {version}, this anypo has {HOOK_API_VERSION}; upgrade anypo" in says


def test_a_plugin_for_this_hook_api_is_loaded(install):
    text = class_with(f'hook_api = "{HOOK_API_VERSION}"')
    install("anypo-lamprey", {"lamprey": "lamprey_module:Lamprey"}, {"lamprey_module.py": text})
    assert registry.find("lamprey").mismatch() == ""
    assert registry.load("lamprey").hook_api == HOOK_API_VERSION


def test_a_plugin_for_an_older_major_version_is_refused_before_it_runs(install):
    text = class_with('hook_api = "0.9"') + "raise RuntimeError\n"
    install("anypo-lamprey", {"lamprey": "lamprey_module:Lamprey"}, {"lamprey_module.py": text})
    with pytest.raises(PluginError, match=r"of anypo-lamprey 1[.]0 is of an older anypo"):
        registry.load("lamprey")


def test_a_module_can_say_what_it_is_written_for(install):
    text = '"""A module."""\nhook_api = "3.0"\n'
    install("anypo-lamprey", {"lamprey": "lamprey_module"}, {"lamprey_module.py": text})
    with pytest.raises(PluginError, match=r"hook API 3\.0"):
        registry.load("lamprey")


@pytest.mark.parametrize("version", ['"soon"', '"1"', "1.0"])
def test_a_hook_api_that_is_no_version_is_refused(install, version):
    text = class_with(f"hook_api = {version}")
    install("anypo-lamprey", {"lamprey": "lamprey_module:Lamprey"}, {"lamprey_module.py": text})
    with pytest.raises(PluginError, match=r"of anypo-lamprey 1\.0 says hook_api = .* no version"):
        registry.load("lamprey")


def test_the_owner_of_a_module_is_the_distribution_that_shares_most_of_its_name(install):
    for part in ("brook", "sea"):
        files = {f"fish/{part}/lamprey.py": PLUGIN}
        install(f"anypo-{part}", {part: f"fish.{part}.lamprey:Lamprey"}, files)
    owners = {
        module: registry.owner(module).distribution
        for module in ("fish.sea.lamprey", "fish.sea.helpers", "fish.brook", "anypo_plugins.x")
    }
    assert list(owners.values()) == ["anypo-sea", "anypo-sea", "anypo-brook", "anypo"]
    assert registry.owner("__main__") is None
