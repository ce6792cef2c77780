"""The lock says which code made a run, and the comparison names each difference."""

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path

import anypo_plugins.policy_gradient.cispo
from anypo import HOOK_API_VERSION, compose, run
from anypo.runs.options import make_config
from anypo.runs.provenance import describe, write_lock


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def test_every_plugin_is_described(lock, lamprey):
    assert [p["name"] for p in lock["plugins"]] == ["grpo", "lamprey", "sticky", "cispo"]
    assert [p["position"] for p in lock["plugins"]] == [0, 1, 2, 3]
    assert lock["plugins"][1] == {
        "position": 1,
        "name": "lamprey",
        "distribution": "anypo-lamprey",
        "version": "1.0",
        "class": "lamprey_module:Lamprey",
        "sha256": sha256(lamprey),
        "stage": None,
        "knobs": {"hold": 1.0},
    }


def test_a_plugin_of_which_one_stage_was_taken_says_which(lock):
    assert [p["stage"] for p in lock["plugins"]] == [None, None, None, "clip"]
    assert lock["plugins"][3]["sha256"] == sha256(anypo_plugins.policy_gradient.cispo.__file__)


def test_a_plugin_of_no_distribution_says_so(lock):
    sticky = lock["plugins"][2]
    assert sticky["distribution"] is None
    assert sticky["note"] == "of no installed distribution"
    assert sticky["sha256"] == sha256(Path(__file__).parents[2] / "conftest.py")
    assert "note" not in lock["plugins"][1]


def test_a_plugin_without_a_file_has_no_hash(lamprey):
    source = lamprey.read_text().replace("Lamprey", "Typed")
    names = {"__name__": "typed_in_a_session"}
    exec(source, names)
    assert describe(compose("grpo", names["Typed"]))["plugins"][1]["sha256"] is None


def test_knobs_have_the_value_they_have_in_the_stack():
    (grpo, dapo) = describe(compose("dapo", knobs={"group_size": 5}))["plugins"]
    assert grpo["knobs"]["group_size"] == dapo["knobs"]["group_size"] == 5
    assert grpo["knobs"]["kl_coef"] == 0.0


def test_the_versions_beneath_are_described(lock):
    versions = lock["versions"]
    assert versions["python"] == platform.python_version()
    assert versions["hook API"] == HOOK_API_VERSION
    for name in ("anypo", "torch", "transformers", "accelerate", "pluggy"):
        assert versions[name] == version(name)


def test_a_lock_can_be_written_and_read_whatever_a_knob_is(tmp_path, lock):
    lock["plugins"][0]["knobs"]["odd"] = {1, 2}
    write_lock(tmp_path, lock)
    read = json.loads((tmp_path / "plugins.lock.json").read_text())
    assert read["plugins"][1] == lock["plugins"][1]


def test_a_run_and_its_checkpoints_hold_the_lock(tmp_path, model_dir):
    (tmp_path / "train.jsonl").write_text('{"prompt": "ab"}\n')
    data, output = str(tmp_path / "train.jsonl"), str(tmp_path / "run")
    options = {"steps": 1, "prompts_per_step": 1, "max_completion_length": 4, "device": "cpu"}
    algorithm = compose("grpo", knobs={"group_size": 2})
    folder = run(
        algorithm,
        model=model_dir,
        data=data,
        reward=["length"],
        output=output,
        save_every=1,
        **options,
    )
    locks = [folder / "plugins.lock.json", folder / "checkpoints/step-000001/plugins.lock.json"]
    config = make_config({"model": model_dir, "data": data, "reward": ["length"]})
    expected = [describe(algorithm, config)] * 2
    assert [json.loads(path.read_text()) for path in locks] == expected
