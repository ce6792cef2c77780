import os
import signal
import subprocess
import sys
import threading

import pytest

from anypo.errors import StoppedError
from anypo.runs import stops
from anypo.runs.stops import Stops, stopped_by

TERM = signal.SIGTERM


def test_the_first_signal_is_noted_and_said(capfd):
    with Stops() as noted:
        assert noted.asked == 0
        os.kill(os.getpid(), TERM)
        assert noted.asked == TERM
    assert "ending after this step; the same again ends at once" in capfd.readouterr().err


def test_signals_at_almost_the_same_time_are_one():
    with Stops() as noted:
        for number in (signal.SIGHUP, signal.SIGHUP, TERM, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert noted.asked == signal.SIGHUP
        assert not noted.at_once


def test_a_second_interrupt_is_one_that_python_knows(monkeypatch):
    monkeypatch.setattr(stops, "ONE", -1.0)
    before = signal.getsignal(signal.SIGINT)
    with Stops() as noted:
        os.kill(os.getpid(), TERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert noted.at_once
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_second_one_of_the_others_ends_the_process(name):
    script = (
        "import os, signal; from anypo.runs import stops; stops.ONE = -1.0\n"
        f"with stops.Stops(): [os.kill(os.getpid(), signal.{name}) for _ in 'ab']; print('late')"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.returncode == -getattr(signal, name)
    assert "late" not in ended.stdout


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stops() as noted:
            os.kill(os.getpid(), signal.SIGHUP)
        assert noted.asked == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_is_left_alone():
    seen = []

    def look():
        with Stops():
            seen.append(signal.getsignal(TERM))

    before = signal.getsignal(TERM)
    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert seen == [before]


def test_what_is_raised_says_what_it_was():
    assert str(stopped_by(signal.SIGINT, "here")) == "stopped by SIGINT here"
    assert isinstance(stopped_by(signal.SIGINT, ""), KeyboardInterrupt)
    error = stopped_by(TERM, "here")
    assert isinstance(error, StoppedError)
    assert error.exit_code == 143
