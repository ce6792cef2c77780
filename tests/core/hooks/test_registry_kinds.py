"""The rules of the registry hold for every kind of plugin, and the kinds do not mix."""

import pytest

from anypo.errors import PluginError
from anypo.hooks import registry

OTHERS = {kind: group for kind, group in registry.KINDS.items() if kind != registry.ALGORITHM}
BUILT_IN = {
    "sampler": "transformers",
    "reward": "exact",
    "task": "addition",
    "environment": "retry",
    "observer": "tensorboard",
    "command": "serve",
}
PLUGIN = '''\
"""A module."""


def lamprey(argument):
    """It holds on."""
'''
every_kind = pytest.mark.parametrize("kind", OTHERS)


@pytest.fixture
def offer(install):
    """Install plugins of one kind, of the same module."""

    def offer(kind, *names, distribution="anypo-lamprey", text=PLUGIN, module="lamprey_module"):
        points = {OTHERS[kind]: dict.fromkeys(names, f"{module}:lamprey")}
        files = {} if text is None else {f"{module}.py": text}
        return install(distribution, {}, files, others=points)

    return offer


def names(kind):
    return [entry.name for entry in registry.entries(kind)]


def test_every_kind_has_something_built_in():
    assert BUILT_IN.keys() == OTHERS.keys()
    for kind, name in BUILT_IN.items():
        assert registry.find(name, kind).distribution == "anypo"
        assert callable(registry.load(name, kind))


@every_kind
def test_a_plugin_is_found_by_its_name_and_kind(offer, kind):
    offer(kind, "sea-lamprey")
    entry = registry.find("Sea_Lamprey", kind)
    assert (entry.kind, entry.full_name) == (kind, "anypo-lamprey:sea-lamprey")
    assert entry.shortest_name == "sea_lamprey"
    assert registry.load("anypo_lamprey:sea-lamprey", kind).__name__ == "lamprey"
    assert str(entry) == f"{kind} 'sea-lamprey' of anypo-lamprey 1.0"


@every_kind
def test_it_is_of_no_other_kind(offer, kind):
    offer(kind, "lamprey")
    assert [k for k in registry.KINDS if registry.knows("lamprey", k)] == [kind]
    assert [k for k in registry.KINDS if "lamprey" in names(k)] == [kind]
    with pytest.raises(PluginError, match="there is no plugin 'lamprey'"):
        registry.find("lamprey")


def test_plugins_of_several_kinds_may_share_a_name(install):
    points = {group: {"lamprey": "lamprey_module:lamprey"} for group in OTHERS.values()}
    install(
        "anypo-lamprey", {"lamprey": "lamprey_module"}, {"lamprey_module.py": PLUGIN}, others=points
    )
    assert {registry.find("lamprey", kind).kind for kind in registry.KINDS} == {*registry.KINDS}
    assert registry.find("lamprey").shortest_name == "lamprey"


@every_kind
def test_the_listing_of_a_kind_is_sorted(offer, kind):
    offer(kind, "zander", "aal")
    assert names(kind) == sorted(names(kind))
    assert {"aal", "zander", BUILT_IN[kind]} <= {*names(kind)}


@every_kind
def test_all_that_is_installed_is_sorted_by_kind(offer, kind):
    offer(kind, "lamprey")
    kinds = [entry.kind for entry in registry.installed()]
    assert list(dict.fromkeys(kinds)) == list(registry.KINDS)
    assert kinds == sorted(kinds, key=list(registry.KINDS).index)


@every_kind
def test_a_name_that_two_offer_is_an_error_naming_both(offer, kind):
    offer(kind, "lamprey", distribution="anypo-brook", module="brook")
    offer(kind, "lamprey", distribution="anypo-sea", module="sea")
    with pytest.raises(PluginError) as caught:
        registry.find("lamprey", kind)
    assert str(caught.value) == (
        f"{kind} 'lamprey' is offered by anypo-brook 1.0 and anypo-sea 1.0; choose with "
        "'anypo-brook:lamprey' or 'anypo-sea:lamprey'"
    )
    assert registry.load("anypo-sea:lamprey", kind).__module__ == "sea"
    assert registry.find("anypo-sea:lamprey", kind).shortest_name == "anypo-sea:lamprey"


@every_kind
def test_a_missing_name_suggests_the_nearest_of_its_kind(offer, kind):
    offer(kind, "lamprey")
    with pytest.raises(PluginError, match=f"^there is no {kind} 'lampray'; did you mean 'lamprey'"):
        registry.find("lampray", kind)
    with pytest.raises(PluginError, match="no plugin 'grpoo'; did you mean 'grpo'"):
        registry.find("grpoo")
    with pytest.raises(PluginError) as caught:
        registry.find("grpoo", kind)
    assert "'grpo'" not in str(caught.value)


@every_kind
@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "ModuleNotFoundError"),
        ("import absent_package\n" + PLUGIN, "absent_package"),
        ("raise RuntimeError('out of water')\n", "RuntimeError: out of water"),
        ("raise SystemExit\n", "SystemExit"),
    ],
    ids=["missing", "missing package", "raising", "exiting"],
)
def test_a_broken_plugin_says_so_when_it_is_loaded_and_hurts_no_other(offer, kind, text, says):
    offer(kind, "lamprey", text=text)
    with pytest.raises(
        PluginError, match=f"^{kind} 'lamprey' of anypo-lamprey 1.0 is broken: .*{says}"
    ):
        registry.load("lamprey", kind)
    assert callable(registry.load(BUILT_IN[kind], kind))


@every_kind
@pytest.mark.parametrize("item", ["lamprey", "anypo-lamprey:lamprey", "anypo-lamprey:*"])
def test_a_disabled_plugin_is_as_if_it_were_not_installed(offer, kind, item, monkeypatch):
    offer(kind, "lamprey")
    monkeypatch.setenv("ANYPO_DISABLE_PLUGINS", item)
    assert registry.ineffective() == []
    with pytest.raises(PluginError) as caught:
        registry.find("lamprey", kind)
    assert f"{kind} 'lamprey' of anypo-lamprey 1.0 is disabled by '{item}'" in str(caught.value)


@every_kind
def test_what_is_written_for_a_newer_anypo_is_refused_before_it_runs(offer, kind):
    text = 'class lamprey:\n    hook_api = "99.0"\n\n\nraise RuntimeError\n'
    offer(kind, "lamprey", text=text)
    with pytest.raises(PluginError, match=f"^{kind} 'lamprey' of anypo-lamprey 1.0 needs a newer"):
        registry.load("lamprey", kind)
