"""What a plugin may rely on is frozen in frozen_api.json, and grows without breaking any."""

import ast
import importlib
import inspect
import json
import textwrap
from pathlib import Path
from typing import Protocol

import pytest

from anypo import HOOK_API_VERSION, Algorithm, Plugin, compose, hookimpl
from anypo.composition.stack import Stack, layer_of
from anypo.errors import PluginError
from anypo.hooks import registry
from anypo.hooks.plugin import check_hooks
from anypo.hooks.requirements import REQUIREMENTS
from anypo.hooks.specs import HOOKS, Hooks, hookspec
from anypo.hooks.version import mismatch

FROZEN = json.loads(Path(__file__).with_name("frozen_api.json").read_text(encoding="utf-8"))
GIVEN_TO_PLUGINS = {
    *("Batch", "Plugin", "Prompt", "Sample", "Sampler", "Scorer"),
    *("Engine", "Runtime", "SamplerPlugin", "SamplingRequest", "Task"),
    *("Observer", "Report"),
    *("Environment", "Turn"),
}


def parameters(name, function):
    """What a function returns, and every argument with its place, as they are written."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(function))).body
    written = {arg.arg: ast.unparse(arg) for arg in ast.walk(node.args) if isinstance(arg, ast.arg)}
    found = {name: ast.unparse(node.returns)}
    for place, parameter in enumerate(inspect.signature(function).parameters.values()):
        default = "" if parameter.default is parameter.empty else f" = {parameter.default!r}"
        kind = (
            "" if parameter.kind is parameter.POSITIONAL_OR_KEYWORD else f" ({parameter.kind.name})"
        )
        text = f"{place}, {written[parameter.name]}{default}{kind}"
        found[f"{name}({parameter.name})"] = text
    return found


def members(name, owner):
    names = {*vars(owner), *inspect.get_annotations(owner)}
    return {f"{name}.{n}": "" for n in names if not n.startswith(("_", "model_"))}


def public(module):
    found = {}
    for name in dir(module):
        item, full = getattr(module, name), f"{module.__name__}.{name}"
        if name.startswith("_") or inspect.ismodule(item):
            continue
        found |= parameters(full, item) if inspect.isfunction(item) else {full: ""}
        if name in GIVEN_TO_PLUGINS:
            found |= members(full, item)
    return found


def current():
    """All that plugins rely on, flat: what it is by its name."""
    found = {"HOOK_API_VERSION": HOOK_API_VERSION}
    for hook in HOOKS:
        function = getattr(Hooks, hook)
        found |= parameters(f"hook {hook}", function)
        found[f"hook {hook} asks"] = "one" if function.anypo_spec["firstresult"] else "all"
    found |= {f"requirement {name}": "" for name in REQUIREMENTS}
    found |= {f"kind {kind}": group for kind, group in registry.KINDS.items()}
    for module in ("anypo", "anypo.functional"):
        found |= public(importlib.import_module(module))
    return dict(sorted(found.items()))


def complaints(frozen, now):
    """What differs from what is frozen, and what to do about it."""
    broken = [f"{n}: {frozen[n]!r} is gone" for n in frozen.keys() - now.keys()]
    broken += [
        f"{n}: {frozen[n]!r} became {now[n]!r}"
        for n in frozen.keys() & now.keys()
        if frozen[n] != now[n] and n != "HOOK_API_VERSION"
    ]
    added = [f'"{n}": {json.dumps(now[n])},' for n in now.keys() - frozen.keys()]
    said = [f"plugins rely on it; leave it until the next major version: {x}" for x in broken]
    said += [f"new; add it here; bump the minor version: {line}" for line in added]
    if frozen.get("HOOK_API_VERSION") != now["HOOK_API_VERSION"]:
        said.append(f"write the new version {now['HOOK_API_VERSION']} here")
    return sorted(said)


def test_what_plugins_rely_on_is_frozen():
    said = complaints(FROZEN, current())
    assert not said, "tests/core/hooks/frozen_api.json:\n" + "\n".join(said)


@pytest.mark.parametrize(
    "name",
    [
        "hook clip",
        "hook clip(log_ratio)",
        "hook regularizer asks",
        "requirement reference",
        "anypo.Batch.lengths",
        "anypo.compose(knobs)",
        "anypo.hookimpl",
        "anypo.functional.k3",
        "anypo.functional.gae(lam)",
    ],
)
def test_what_is_frozen_can_neither_go_nor_change_nor_come_unnoticed(name):
    now = current()
    without = {n: what for n, what in now.items() if n != name}
    (gone,) = complaints(now, without)
    (changed,) = complaints(now, now | {name: "another"})
    (new,) = complaints(without, now)
    assert gone.startswith("plugins rely on it")
    assert changed.startswith("plugins rely on it")
    assert new.startswith("new; add it here; bump the minor version")


def test_a_new_version_must_be_written_down():
    (said,) = complaints({**current(), "HOOK_API_VERSION": "0.9"}, current())
    assert said == f"write the new version {HOOK_API_VERSION} here"


class Grown(Hooks, Protocol):
    """The hooks of a later minor version: one more argument, and one more hook."""

    @hookspec(firstresult=True)
    def weight(self, batch, epoch): ...

    @hookspec
    def schedule(self, batch): ...


def test_a_plugin_keeps_working_when_hooks_get_more_arguments(monkeypatch):
    class Old(Plugin):
        @hookimpl
        def weight(self, batch):
            return f"weights of {batch}"

    class New(Plugin):
        @hookimpl
        def weight(self, epoch):
            return f"weights in epoch {epoch}"

    monkeypatch.setattr("anypo.composition.calls.Hooks", Grown)
    for plugin, answer in ((Old, "weights of it"), (New, "weights in epoch 3")):
        algorithm = Algorithm(Stack("grown", (layer_of(plugin),)), {})
        assert algorithm.manager.hook.weight(batch="it", epoch=3) == answer


def test_a_plugin_may_name_no_argument_at_all():
    class Constant(Plugin):
        @hookimpl
        def ratio(self):
            raise ZeroDivisionError("it is called")

    with pytest.raises(PluginError, match=r"'ratio' of plugin 'constant' failed: .*called"):
        compose("grpo", Constant)


@pytest.mark.parametrize("version", ["1.1", "2.0", "1.10"])
def test_a_class_for_a_newer_hook_api_is_refused(version):
    with pytest.raises(PluginError, match=f"Later needs a newer anypo: .* hook API {version}"):
        type("Later", (Plugin,), {"hook_api": version, "__module__": __name__})
    plain = type("Later", (), {"hook_api": version, "weight": hookimpl(lambda self: None)})
    with pytest.raises(PluginError, match=f"Later needs a newer anypo: .* hook API {version}"):
        compose("grpo", plain)


def test_versions_are_compared_as_numbers(monkeypatch):
    monkeypatch.setattr("anypo.hooks.version.HOOK_API_VERSION", "1.10")
    assert [bool(mismatch(v)) for v in ("1.9", "1.10", "1.11", "2.0")] == [False, False, True, True]


@pytest.mark.parametrize("said", [{}, {"hook_api": "1.7"}])
def test_a_plugin_for_an_older_major_version_is_refused(said, monkeypatch):
    monkeypatch.setattr("anypo.hooks.version.HOOK_API_VERSION", "2.0")
    refused = r"Earlier is of an older anypo: .* hook API 1\.[07], this anypo has 2\.0, .* install"
    with pytest.raises(PluginError, match=refused):
        type("Earlier", (Plugin,), {**said, "__module__": __name__})
    with pytest.raises(PluginError, match=refused):
        check_hooks(type("Earlier", (), {**said, "weight": hookimpl(lambda self: None)}))
    assert mismatch("2.0") == ""
