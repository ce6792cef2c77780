import pytest

from anypo.data import progress
from anypo.data.progress import silent, watch


@pytest.fixture
def clock(monkeypatch):
    """Seconds that go by as they are told to."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def watched(clock, seconds, items=10):
    """What is told while every item takes so long."""
    told, seen = [], []
    for item in watch(range(items), items, lambda *args: told.append(args)):
        seen.append(item)
        clock[0] += seconds
    assert seen == list(range(items))
    return told


def test_of_what_is_soon_done_nothing_is_told(clock):
    assert watched(clock, 0.1) == []


def test_of_what_takes_long_is_told_how_much_is_done_and_in_the_end_all(clock):
    assert watched(clock, 0.5) == [(n, 10) for n in (5, 6, 7, 8, 9, 10, 10)]


def test_it_is_told_no_more_often_than_anybody_reads(clock):
    told = watched(clock, 0.05, items=200)
    assert 30 <= len(told) <= 41
    assert told[-1] == (200, 200)


def test_nobody_need_be_told():
    assert silent("reading", 1, 2) is None
