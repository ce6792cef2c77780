"""What of the code of a run has changed since is told, one line for each difference."""

import copy
from importlib.metadata import version

import pytest

from anypo import compose
from anypo.runs.changes import changes, differences, uninstalled
from anypo.runs.options import make_config
from anypo.runs.provenance import describe, write_lock

OPTIONS = make_config({})


def test_nothing_has_changed_if_nothing_has_changed(lock):
    assert differences(lock, copy.deepcopy(lock)) == []


def without(plugins, name):
    return [p for p in plugins if p["name"] != name]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sha256": "0123456789abcdef"}, ["has changed (sha256 was 0123456789ab)"]),
        ({"version": "0.9"}, ["'lamprey' of anypo-lamprey 1.0: it was of anypo-lamprey 0.9"]),
        ({"distribution": "anypo-eel"}, ["it was of anypo-eel 1.0"]),
        ({"distribution": None}, ["it was of no distribution (lamprey_module:Lamprey)"]),
        ({"class": "a:B"}, ["its class was a:B"]),
        ({"version": "0.9", "sha256": "0"}, ["anypo-lamprey 0.9", "has changed"]),
        ({"knobs": {"hold": 2.0}}, None),
    ],
)
def test_a_plugin_that_changed_is_one_line(lock, change, says):
    old = copy.deepcopy(lock)
    old["plugins"][1] |= change
    found = differences(old, lock)
    if says is None:
        assert found == []
        return
    (line,) = found
    assert "'lamprey' of anypo-lamprey 1.0" in line
    assert all(text in line for text in says)


def test_a_plugin_that_is_not_there_any_more_and_a_new_one_are_named(lock):
    fewer = {**lock, "plugins": without(lock["plugins"], "lamprey")}
    assert differences(lock, fewer) == [
        "plugin 'lamprey' of anypo-lamprey 1.0 is not there any more"
    ]
    assert differences(fewer, lock) == ["plugin 'lamprey' of anypo-lamprey 1.0 is new in the stack"]


def test_another_order_of_the_stack_is_named(lock):
    turned = {**lock, "plugins": lock["plugins"][::-1]}
    assert differences(lock, turned) == [
        "the stack is cispo.clip + sticky + lamprey + grpo, "
        "it was grpo + lamprey + sticky + cispo.clip"
    ]


def test_another_algorithm_may_have_another_stack(lock):
    other = {**lock, "algorithm": "other", "plugins": without(lock["plugins"], "lamprey")}
    assert differences(lock, other) == []


def test_other_versions_are_named(lock):
    old = copy.deepcopy(lock)
    old["versions"] |= {"torch": "2.0", "transformers": None, "vanished": "1"}
    assert differences(old, lock) == [
        f"torch is {version('torch')}, it was 2.0",
        f"transformers is {version('transformers')}, it was absent",
        "vanished is absent, it was 1",
    ]


def test_a_changed_file_is_seen_beside_an_old_config(tmp_path, lamprey):
    config, algorithm = str(tmp_path / "config.toml"), compose("grpo", "lamprey")
    assert changes(config, algorithm, OPTIONS) == []
    write_lock(tmp_path, describe(algorithm))
    assert changes(config, algorithm, OPTIONS) == []
    lamprey.write_text(lamprey.read_text() + "# another\n")
    (change,) = changes(config, algorithm, OPTIONS)
    assert change.startswith(f"since '{tmp_path}': plugin 'lamprey' of anypo-lamprey 1.0: the file")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"plugins": [1]}', "\x00"])
def test_a_damaged_lock_is_said_and_stops_nothing(tmp_path, text):
    (tmp_path / "plugins.lock.json").write_text(text)
    config = str(tmp_path / "config.toml")
    (change,) = changes(config, compose("grpo"), OPTIONS)
    assert "plugins.lock.json' is damaged" in change
    assert uninstalled(config) == ""


def test_what_is_not_installed_any_more_is_named_with_its_version(tmp_path, lock):
    write_lock(tmp_path, lock)
    config = str(tmp_path / "config.toml")
    assert uninstalled(config) == ""
    lock["plugins"][1]["distribution"] = "anypo-eel"
    write_lock(tmp_path, lock)
    assert uninstalled(config) == f"; '{tmp_path}' was made with anypo-eel 1.0"


ECHO = """
from anypo import Transformers

class Echo(Transformers):
    loud: bool = False

def polite(argument):
    def polite(completions, **_):
        return [1.0 for _ in completions]
    return polite
"""


def test_whatever_else_the_options_name_is_described_and_compared(tmp_path, install):
    code = {"echo_module.py": ECHO}
    others = {
        "anypo.samplers": {"echo": "echo_module:Echo"},
        "anypo.rewards": {"polite": "echo_module:polite"},
    }
    info = install("anypo-echo", {}, code, others=others)
    config = make_config({"sampler": "echo", "reward": ["polite=0.5", "regex:a=1", "mine.py:f"]})
    lock = describe(compose("grpo"), config)
    names = [(used["kind"], used["name"], used["distribution"]) for used in lock["used"]]
    assert names == [
        ("sampler", "echo", "anypo-echo"),
        ("reward", "polite", "anypo-echo"),
        ("reward", "regex", "anypo"),
        ("task", "addition", "anypo"),
    ]
    write_lock(tmp_path, lock)
    file = str(tmp_path / "config.toml")
    assert changes(file, compose("grpo"), config) == []
    (info.parent / "echo_module.py").write_text(ECHO + "# another\n")
    first, second = changes(file, compose("grpo"), config)
    assert first.startswith(f"since '{tmp_path}': sampler 'echo' of anypo-echo 1.0: the file")
    assert second.startswith(f"since '{tmp_path}': reward 'polite' of anypo-echo 1.0: the file")
    lock["used"][0]["distribution"] = "anypo-gone"
    write_lock(tmp_path, lock)
    assert uninstalled(file) == f"; '{tmp_path}' was made with anypo-gone 1.0"
