import importlib
import signal
import sys
import threading
import time

import pytest
from pydantic import create_model
from pydantic_core import core_schema

from anypo_cli.interrupts import Interrupts

SWALLOWING = """
import signal
try:
    signal.raise_signal(signal.SIGINT)
except BaseException:
    pass
"""
TWICE = """
import signal
signal.raise_signal(signal.SIGINT)
signal.raise_signal(signal.SIGINT)
"""


@pytest.fixture(autouse=True)
def _usual_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def imported(tmp_path, monkeypatch):
    """Imports a module of some code."""
    monkeypatch.syspath_prepend(tmp_path)

    def imported(code):
        (tmp_path / "a_library.py").write_text(code)
        importlib.invalidate_caches()
        monkeypatch.delitem(sys.modules, "a_library", raising=False)
        importlib.import_module("a_library")

    return imported


def _then_wait(done, function, *args, **options):
    done.append(function(*args, **options))
    time.sleep(30)


def test_no_library_swallows_it_that_is_imported(imported):
    done = []
    with pytest.raises(KeyboardInterrupt), Interrupts():
        _then_wait(done, imported, SWALLOWING)
    assert len(done) == 1


def test_pydantic_takes_it_for_no_mistake_in_a_schema():
    def interrupt(*_):
        signal.raise_signal(signal.SIGINT)
        return core_schema.int_schema()

    asked = type("Asked", (), {"__get_pydantic_core_schema__": interrupt})
    done = []
    with pytest.raises(KeyboardInterrupt), Interrupts():
        _then_wait(done, create_model, "Model", field=(asked, ...))
    assert len(done) == 1


def test_a_second_one_does_not_wait(imported):
    with pytest.raises(KeyboardInterrupt), Interrupts():
        imported(TWICE)
    assert "a_library" not in sys.modules


def test_elsewhere_it_does_not_wait_at_all():
    with pytest.raises(KeyboardInterrupt), Interrupts():
        signal.raise_signal(signal.SIGINT)


def test_it_is_handled_as_before_afterwards(imported):
    with pytest.raises(KeyboardInterrupt), Interrupts():  # not lost, although the block has ended
        imported(SWALLOWING)
    time.sleep(0.2)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_ignores_it_still_does():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Interrupts():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_another_thread_is_left_alone():
    def block():
        with Interrupts():
            pass

    thread = threading.Thread(target=block)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
