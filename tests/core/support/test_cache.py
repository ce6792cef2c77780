import os
import time

import pytest

from anypo.errors import ConfigError
from anypo.support.cache import cache_directory


def test_the_cache_is_where_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "deep" / "cache"))
    assert cache_directory() == tmp_path / "deep" / "cache" / "anypo"
    assert cache_directory().is_dir()
    assert not list(cache_directory().iterdir())


def test_without_a_word_of_the_environment_it_is_in_the_home(tmp_path, monkeypatch):
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / ".cache" / "anypo"


def test_a_cache_that_cannot_be_written_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigError, match=r"the cache '.*file/anypo' cannot be written"):
        cache_directory()


def test_what_was_never_finished_is_deleted_after_a_day(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    old, new = (cache_directory() / f".tmp-{age}" for age in ("old", "new"))
    for folder in (old, new):
        folder.mkdir()
        (folder / "model").write_text("")
    yesterday = time.time() - 90_000
    os.utime(old, (yesterday, yesterday))
    assert list(cache_directory().iterdir()) == [new]
