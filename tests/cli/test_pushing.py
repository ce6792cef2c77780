import json
import shutil

import pytest
from huggingface_hub import HfApi

from anypo_cli.app import main


@pytest.fixture
def trained(tmp_path, model_dir):
    """A directory that a run has left."""
    folder = tmp_path / "one"
    shutil.copytree(model_dir, folder / "model")
    (folder / "model" / "MANIFEST.json").write_text("{}")
    (tmp_path / "train.jsonl").touch()
    data = tmp_path / "train.jsonl"
    (folder / "config.toml").write_text(
        f'algorithm = "grpo"\nmodel = "some/base"\ndata = "{data}"\nsteps = 40\n'
        'prompts_per_step = 4\nreward = ["exact"]\n[knobs]\ngroup_size = 4\n'
    )
    rows = [{"step": n, "eval/score": n / 40, "loss": 1.0} for n in range(0, 41)]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    lock = {"versions": {"anypo": "0.1.0", "torch": "2.6"}}
    (folder / "plugins.lock.json").write_text(json.dumps(lock))
    return folder


@pytest.fixture
def hub(monkeypatch):
    sent = {}

    def create_repo(self, name, *, private, exist_ok):
        sent["private"] = private
        return type("Made", (), {"repo_id": name, "__str__": lambda _: f"hub/{name}"})()

    def create_commit(self, name, adds, commit_message):
        sent[name] = {add.path_in_repo for add in adds}

    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "create_commit", create_commit)
    return sent


def test_a_dry_run_writes_the_card_and_sends_nothing(trained, hub, capsys):
    assert main(["push", str(trained), "me/model", "--dry-run"]) == 0
    card = (trained / "README.md").read_text()
    for told in ("base_model: some/base", "`train.jsonl`", "group_size = 4", "torch 2.6", "| 40 |"):
        assert told in card
    assert str(trained.parent) not in card
    assert card.count("\n| ") == 2 + 12
    assert not hub
    assert "config.json" in capsys.readouterr().out


def test_the_model_and_its_card_are_sent(trained, hub, capsys):
    (trained / "model" / "training").mkdir()
    (trained / "model" / "training" / "tensors.safetensors").touch()
    assert main(["push", str(trained), "me/model", "--private"]) == 0
    assert hub["private"]
    assert {"README.md", "config.json", "model.safetensors"} <= hub["me/model"]
    assert not any("MANIFEST" in name or "training" in name for name in hub["me/model"])


@pytest.mark.parametrize(
    ("run", "name", "why"),
    [
        ("nowhere", "me/model", "there is no directory"),
        ("one", "no name at all", "is no name of the hub"),
        ("one", "me/model", "was not pushed: no network"),
    ],
)
def test_what_goes_wrong_is_one_line(trained, monkeypatch, capsys, run, name, why):
    def fail(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(HfApi, "create_repo", fail)
    assert main(["push", str(trained.with_name(run)), name]) == 1
    said = capsys.readouterr().err
    assert why in said
    assert said.count("\n") == 1
