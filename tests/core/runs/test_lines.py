import json

import pytest

from anypo.errors import SaveError
from anypo.runs.lines import Lines


def rows(path):
    return [json.loads(line)["step"] for line in path.read_text().split("\n")[:-1]]


@pytest.fixture
def lines(tmp_path):
    """A file of the rows of three steps."""
    lines = Lines(tmp_path / "metrics.jsonl")
    for step in (0, 1, 2):
        lines.add({"step": step, "text": "ä\u2028b"})
    lines.flush()
    return lines


def test_rows_are_added(lines):
    Lines(lines.path).flush()
    lines.add({"step": 3})
    lines.flush()
    assert rows(lines.path) == [0, 1, 2, 3]


@pytest.mark.parametrize("torn", ["", '{"step": 3, "x', '{"step": 1}', "{}\n"])
def test_what_follows_a_step_is_cut(lines, torn):
    with lines.path.open("a") as file:
        file.write(torn)
    lines.cut(1)
    assert rows(lines.path) == [0, 1]
    lines.cut(-1)
    assert rows(lines.path) == []
    lines.path.unlink()
    lines.cut(1)


@pytest.mark.parametrize("torn", ['{"step": 3, "x', '{"step": 3, "x\n', "\n"])
def test_a_torn_line_is_cut_where_it_is(lines, torn):
    with lines.path.open("a") as file:
        file.write(torn)
    lines.cut(2)
    assert rows(lines.path) == [0, 1, 2]


def test_what_cannot_be_written_waits(lines):
    hidden = lines.path.with_name("hidden")
    lines.path.rename(hidden)
    lines.path.mkdir()
    lines.add({"step": 3})
    with pytest.raises(SaveError, match=r"metrics\.jsonl' cannot be written: Is a directory"):
        lines.flush()
    lines.path.rmdir()
    hidden.rename(lines.path)
    lines.add({"step": 4})
    lines.flush()
    assert rows(lines.path) == [0, 1, 2, 3, 4]


def test_no_half_of_a_line_stays_on_a_full_disk(lines, monkeypatch):
    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def __getattr__(self, name):
            return getattr(self.file, name)

        def write(self, data):
            if len(data) < 20:
                raise OSError(28, "No space left on device")
            return self.file.write(data[:5])

    opened = type(lines.path).open
    monkeypatch.setattr(type(lines.path), "open", lambda *a, **k: Full(opened(*a, **k)))
    lines.add({"step": 3, "text": "long enough"})
    with pytest.raises(SaveError, match="No space left on device"):
        lines.flush()
    monkeypatch.undo()
    assert rows(lines.path) == [0, 1, 2]
    lines.flush()
    assert rows(lines.path) == [0, 1, 2, 3]
