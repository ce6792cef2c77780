"""Trackers keep a run on this machine: each is read back with its own library."""

import importlib
import json
import shutil
import struct
import warnings
from pathlib import Path

import pytest

from anypo import ConfigError, resume, run
from anypo_track.files import Completions

EVAL = [{"prompt": "ab"}]


@pytest.fixture
def options(letters, tmp_path, monkeypatch):
    """Of a run with a checkpoint after each step."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eval.jsonl").write_text("\n".join(map(json.dumps, EVAL)))
    return {**letters, "eval_data": str(tmp_path / "eval.jsonl"), "save_every": 1}


def train(options, tracker):
    """Track two steps, and go on from the first one, as after a kill, for a third.

    Returns:
        The folder, and the metrics that the run wrote down before and after.
    """
    folder = run("grpo", steps=2, track=[tracker], **options)
    before = metrics(folder)
    for lost in (folder / "model", folder / "checkpoints" / "step-000002"):
        shutil.rmtree(lost)
    resume(folder, steps=3)
    return folder, before, metrics(folder)


def metrics(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def samples(folder):
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


# -- TensorBoard ---------------------------------------------------------------------------------


def test_tensorboard_shows_one_run_with_every_step_once(options):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder, _, written = train(options, "tensorboard")
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    shown = {name: events.Scalars(name) for name in events.Tags()["scalars"]}
    for name, points in shown.items():
        told = {row["step"]: row[name] for row in written if name in row}
        assert [point.step for point in points] == list(told)
        assert [point.value for point in points] == pytest.approx(list(told.values()), rel=1e-4)
    assert {*written[0], *written[-1]} == {*shown, "step"}


def test_tensorboard_shows_configuration_and_completions(options):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = run("grpo", steps=1, track=["tensorboard"], **options)
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    texts = {
        name.partition("/")[0]: "\n".join(
            event.tensor_proto.string_val[0].decode() for event in events.Tensors(name)
        )
        for name in events.Tags()["tensors"]
    }
    assert "knobs/clip_low: 0.2" in texts["config"]
    for row in samples(folder):
        assert (
            f"completion: {json.dumps(row['completion'], ensure_ascii=False)}"
            in (texts["completions"])
        )


def test_tensorboard_has_no_projects(options):
    pytest.importorskip("tensorboard")
    with pytest.raises(ConfigError, match="no projects, so leave out 'mine'"):
        run("grpo", track=["tensorboard:mine"], **options)


# -- trackio -------------------------------------------------------------------------------------


@pytest.fixture
def trackio(tmp_path, monkeypatch):
    """The library, with its databases in a folder of the test."""
    pytest.importorskip("trackio")
    for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        monkeypatch.delenv(name, raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # its imports may warn
        library, *others = map(
            importlib.import_module, ("trackio", "trackio.utils", "trackio.sqlite_storage")
        )
    for module in (library, *others):
        monkeypatch.setattr(module, "TRACKIO_DIR", tmp_path / "trackio")
    return library.SQLiteStorage


def test_trackio_holds_one_run_with_every_step_once(options, trackio):
    folder, before, written = train(options, "trackio:mine")
    (name,) = trackio.get_runs("mine")
    assert name.startswith(folder.name)
    rows = trackio.get_logs("mine", name)
    told = {}
    for row in rows:
        told.setdefault(row["step"], {}).update(row)
    assert list(told) == [0, 1, 2, 3]
    expected = {row["step"]: row for row in [*before, written[-1]]}
    for step, row in expected.items():
        assert {k: told[step][k] for k in row} == pytest.approx(row, rel=1e-4)
    assert len([row for row in rows if "loss" in row]) == 3
    config = trackio.get_run_config("mine", name)
    assert (config["algorithm"], config["knobs/clip_low"]) == ("grpo", 0.2)


def test_trackio_holds_tables_of_completions(options, trackio):
    folder = run("grpo", steps=1, track=["trackio"], **options)
    (name,) = trackio.get_runs("anypo")
    tables = [r["completions"] for r in trackio.get_logs("anypo", name) if "completions" in r]
    told = [row["completion"] for table in tables for row in table["_value"]]
    assert told == [row["completion"] for row in samples(folder)]


# -- wandb ---------------------------------------------------------------------------------------


def records(file):
    """What an offline run holds: chunks of a log such as LevelDB's, in blocks of 32 KiB."""
    record = importlib.import_module("wandb.proto.wandb_internal_pb2").Record
    data, place, message = file.read_bytes(), 7, b""  # after the file's own header
    while place + 7 < len(data):
        length, kind = struct.unpack("<HB", data[place + 4 : place + 7])
        message += data[place + 7 : place + 7 + length]
        if kind in (1, 4):  # whole, or the last part
            yield record.FromString(message)
            message = b""
        place += 7 + length
        if (left := -place % 2**15) < 7:  # no room for another header
            place += left


@pytest.mark.filterwarnings("default")
def test_wandb_keeps_one_run_here(options, monkeypatch):
    wandb = pytest.importorskip("wandb")
    wandb.teardown()  # it looks at its environment once
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder, before, _ = train(options, "wandb:mine")
    wandb.teardown()  # it writes in another process
    files = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
    first, second = (list(records(file)) for file in files)
    (begun,), (resumed,) = ([r.run for r in some if r.run.run_id] for some in (first, second))
    assert (begun.run_id, begun.project) == (resumed.run_id, "mine")
    assert "knobs/clip_low" in {item.key for item in begun.config.update}
    items = [{"/".join(i.nested_key) or i.key: i for i in r.history.item} for r in first]
    rewards = [json.loads(i["reward/mean"].value_json) for i in items if "reward/mean" in i]
    told = [row["reward/mean"] for row in before if "reward/mean" in row]
    assert rewards == pytest.approx(told, rel=1e-4)
    (table,) = folder.glob("wandb/offline-run-*/files/media/table/completions_*.json")
    held = json.loads(table.read_text())
    column = held["columns"].index("completion")
    assert [r[column] for r in held["data"]] == [r["completion"] for r in samples(folder)]


def test_wandb_without_a_login_is_refused(options, monkeypatch, tmp_path):
    pytest.importorskip("wandb").teardown()
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ConfigError, match="needs a login: `wandb login`, or WANDB_MODE=offline"):
        run("grpo", track=["wandb"], **options)
    assert not Path(options["output"]).exists()


# -- MLflow --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("default")
def test_mlflow_holds_one_run_with_every_step_once(options, monkeypatch, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    folder, before, written = train(options, "mlflow:mine")
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("mine").experiment_id
    (kept,) = client.search_runs([experiment])
    assert (kept.info.run_name, kept.info.status) == (folder.name, "FINISHED")
    assert (kept.data.params["knobs/clip_low"], kept.data.params["steps"]) == ("0.2", "2")
    expected = {row["step"]: row["reward/mean"] for row in [*before, written[-1]] if row["step"]}
    points = client.get_metric_history(kept.info.run_id, "reward/mean")
    assert {p.step: p.value for p in points} == pytest.approx(expected, rel=1e-4)
    assert len(points) == 3
    table = client.download_artifacts(kept.info.run_id, "completions.json", str(tmp_path))
    held = json.loads(Path(table).read_text())
    column = held["columns"].index("completion")
    assert [r[column] for r in held["data"]] == [r["completion"] for r in samples(folder)]


# -- what they need ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mlflow", "tensorboard", "trackio", "wandb"])
def test_one_whose_library_is_missing_is_refused_with_how_to_install_it(options, name, monkeypatch):
    monkeypatch.setattr("anypo.support.extras.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=rf"track {name} needs.*pip install 'anypo\[{name}\]'"):
        run("grpo", track=[name], **options)
    assert not Path(options["output"]).exists()


def test_rows_are_read_once_and_when_they_are_whole(tmp_path):
    file = tmp_path / "samples.jsonl"
    file.write_text('{"step": 1}\n')
    rows = Completions(tmp_path)
    assert rows.new() == []
    with file.open("a") as added:
        added.write('{"step": 2, "prompt": [{"role": "user"}], "scores": {"a": 1}}\n{"step"')
    row = {"step": 2, "prompt": '[{"role": "user"}]', "scores": '{"a": 1}'}
    assert [rows.new(), rows.new()] == [[row], []]
    with file.open("a") as added:
        added.write(": 3}\n")
    assert rows.new() == [{"step": 3}]


def test_a_run_without_completions_has_no_rows(tmp_path):
    assert Completions(tmp_path).new() == []
