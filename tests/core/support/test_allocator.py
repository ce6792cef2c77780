import ctypes
import sys

import pytest

from anypo.support import allocator
from anypo.support.allocator import KEPT, USUAL, kept_memory


@pytest.fixture
def libc(monkeypatch):
    class Libc:
        """Notes what it is asked for."""

        def __init__(self):
            self.calls = []

        def mallopt(self, name, size):
            self.calls.append((name, size))

        def malloc_trim(self, left):
            self.calls.append(("trim", left))

    made = Libc()
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: made)
    monkeypatch.setattr(sys, "platform", "linux")
    return made


def test_memory_is_kept_in_the_block_and_given_back_after_it_whatever_happens(libc):
    @kept_memory()
    def run():
        assert libc.calls == list(KEPT.items())
        raise KeyError

    with pytest.raises(KeyError):
        run()
    assert libc.calls[len(KEPT) :] == [*USUAL.items(), ("trim", 0)]


@pytest.mark.skipif(sys.platform != "linux", reason="it is of Linux")
def test_the_allocator_takes_all_that_it_is_asked_for():
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        pytest.skip("it is of glibc")
    with kept_memory():
        assert [libc.mallopt(*setting) for setting in (KEPT | USUAL).items()] == [1] * len(KEPT)


def test_elsewhere_nothing_is_asked_for(libc, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with kept_memory():
        pass
    assert libc.calls == []
