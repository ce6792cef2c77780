import json
import os
from pathlib import Path

import pytest

from anypo.errors import SaveError
from anypo.support import saving
from anypo.support.saving import (
    manifest_of,
    newest_whole,
    remove,
    sweep,
    whole_folder,
    write_file,
    writing,
)
from anypo.support.world import World

ALONE = World()


def save(folder, text="a", **facts):
    with whole_folder(folder, ALONE, **facts) as made:
        (made / "deep").mkdir()
        (made / "deep" / "file").write_text(text)
    return folder


def test_a_folder_is_there_once_it_is_whole(tmp_path):
    with whole_folder(tmp_path / "new" / "it", ALONE, step=3) as made:
        (made / "file").write_text("a")
        assert not (tmp_path / "new" / "it").exists()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["it"]
    manifest = manifest_of(tmp_path / "new" / "it")
    assert manifest["step"] == 3
    assert manifest["files"]["file"]["size"] == 1


def test_a_folder_takes_the_place_of_another(tmp_path):
    save(tmp_path / "it", "old")
    save(tmp_path / "it", "new")
    assert (tmp_path / "it" / "deep" / "file").read_text() == "new"
    assert list(tmp_path.iterdir()) == [tmp_path / "it"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_fails_leaves_the_folder_that_was_there(tmp_path, error):
    save(tmp_path / "it", "old")

    def fail(made):
        (made / "deep").mkdir()
        raise error

    with pytest.raises(type(error)), whole_folder(tmp_path / "it", ALONE) as made:
        fail(made)
    assert (tmp_path / "it" / "deep" / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "it"]


def test_an_error_says_the_path_and_the_reason_and_no_name_that_nobody_gave(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SaveError, match=r"file/it' cannot be written: Not a directory$"):
        save(tmp_path / "file" / "it")

    def fail(made):
        with writing(made / "weights"):
            raise OSError(28, "No space left on device")

    with pytest.raises(SaveError) as caught, whole_folder(tmp_path / "it", ALONE) as made:
        fail(made)
    expected = f"'{tmp_path / 'it' / 'weights'}' cannot be written: No space left on device"
    assert str(caught.value) == expected


def test_all_is_on_the_disk_before_the_folder_has_its_name(tmp_path, monkeypatch):
    synced = []

    def noted(path):
        synced.append((Path(path).name.split("-")[0], (tmp_path / "it").exists()))

    monkeypatch.setattr(saving, "to_disk", noted)
    save(tmp_path / "it")
    before = [name for name, there in synced if not there]
    assert sorted(before) == [".tmp", "MANIFEST.json", "deep", "file"]
    assert before[-1] == ".tmp"
    assert [name for name, there in synced if there] == [tmp_path.name.split("-")[0]]


@pytest.mark.parametrize("damage", ["changed", "cut", "deleted", "no manifest", "torn manifest"])
def test_damage_is_found(tmp_path, damage):
    file, manifest = save(tmp_path / "it") / "deep" / "file", tmp_path / "it" / "MANIFEST.json"
    match damage:
        case "changed":
            file.write_text("b")
        case "cut":
            os.truncate(file, 0)
        case "deleted":
            file.unlink()
        case "no manifest":
            manifest.unlink()
        case _:
            os.truncate(manifest, 20)
    with pytest.raises(SaveError, match="damaged"):
        manifest_of(tmp_path / "it")


def test_the_newest_whole_folder_is_found_and_those_after_it_are_told(tmp_path):
    for step in (1, 2, 3):
        save(tmp_path / f"step-{step}")
    (tmp_path / "step-3" / "deep" / "file").write_text("b")
    (tmp_path / ".tmp-step-4-abc").mkdir()
    told = []
    assert newest_whole(tmp_path, told.append) == tmp_path / "step-2"
    assert len(told) == 1
    assert "step-3' is damaged" in told[0]
    assert newest_whole(tmp_path / "nowhere", told.append) is None


def test_what_was_killed_is_swept_away(tmp_path):
    for name in (".tmp-it-1", ".trash-it-2", "it"):
        (tmp_path / name).mkdir()
    (tmp_path / ".tmp-file").write_text("")
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == [tmp_path / "it"]


def test_a_folder_that_is_removed_is_gone_at_once(tmp_path, monkeypatch):
    save(tmp_path / "it")
    monkeypatch.setattr(saving.shutil, "rmtree", lambda *_, **__: None)  # killed meanwhile
    remove(tmp_path / "it")
    assert not (tmp_path / "it").exists()
    remove(tmp_path / "it")


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    write_file(tmp_path / "file", "old")

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "to_disk", full)
    with pytest.raises(SaveError, match="file' cannot be written: No space left on device"):
        write_file(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "old"
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]


def test_the_manifest_is_json_that_others_can_read(tmp_path):
    save(tmp_path / "it", best=None)
    assert json.loads((tmp_path / "it" / "MANIFEST.json").read_text())["best"] is None
