import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress

import pytest

from anypo.errors import ConfigError
from anypo.support.deadline import SIGNAL, DeadlineError, deadline, last_resort

LIMIT = 0.2


@pytest.fixture(autouse=True)
def _nothing_is_left_running():
    threads, handler = set(threading.enumerate()), signal.getsignal(SIGNAL)
    yield
    assert set(threading.enumerate()) <= threads
    assert signal.getsignal(SIGNAL) == handler


@pytest.fixture
def alarm():
    """Has SIGALRM sent after some seconds, to a handler."""
    before = signal.getsignal(signal.SIGALRM)

    def set_off(seconds, handler):
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, seconds)

    yield set_off
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def interrupted(function):
    """Whether the function is interrupted; it would take far longer than it may."""
    try:
        with deadline(LIMIT):
            function()
    except DeadlineError:
        return True
    return False


def sleep():
    time.sleep(30)


def spin():
    while True:
        pass


def backtrack():
    re.search("(a+)+$", "a" * 60 + "b")


def in_thread(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


@pytest.mark.parametrize("function", [sleep, spin])
def test_a_block_that_takes_too_long_is_interrupted(function):
    with pytest.raises(DeadlineError), deadline(LIMIT):
        function()


def test_a_c_function_that_checks_for_signals_is_interrupted(alarm):
    rescued = []

    def rescue(*_):
        rescued.append(True)
        raise TimeoutError

    alarm(3, rescue)
    assert interrupted(backtrack)
    assert not rescued


def test_a_block_that_ends_in_time_is_not_interrupted():
    with deadline(30):
        done = True
    assert done


def test_no_limit_works_in_any_thread():
    ended = []

    def work():
        with deadline(0):
            ended.append(True)

    in_thread(work)
    assert ended == [True]


def test_a_thread_that_cannot_be_interrupted_is_told_so():
    errors = []

    def work():
        try:
            with deadline(LIMIT):
                pass
        except ConfigError as error:
            errors.append(str(error))

    in_thread(work)
    assert errors == [
        "only the main thread on POSIX can be timed: call run there, or set reward_timeout to 0"
    ]


def test_an_error_of_the_block_passes():
    with pytest.raises(ValueError, match="mine"), deadline(30):
        raise ValueError("mine")


def test_except_exception_does_not_swallow_it():
    def careless():
        with suppress(Exception):
            sleep()

    assert interrupted(careless)


def test_finally_clauses_run_when_it_is_raised():
    cleaned = []

    def careful():
        try:
            sleep()
        finally:
            cleaned.append(True)

    assert interrupted(careful)
    assert cleaned == [True]


def test_the_handler_that_was_there_before_is_put_back():
    received = []
    before = signal.signal(SIGNAL, lambda *_: received.append(True))
    try:
        assert interrupted(sleep)
        signal.raise_signal(SIGNAL)
    finally:
        signal.signal(SIGNAL, before)
    assert received == [True]


def test_an_inner_limit_leaves_the_outer_one_in_force():
    def work():
        with deadline(30):
            pass
        sleep()

    assert interrupted(work)


def test_an_outer_limit_holds_within_an_inner_one():
    def work():
        with deadline(30):
            sleep()

    assert interrupted(work)


def test_an_alarm_of_the_block_neither_stops_it_nor_is_stopped(alarm):
    rang = []

    def work():
        alarm(0.01, lambda *_: rang.append(True))
        sleep()

    assert interrupted(work)
    assert rang == [True]


def test_cancelling_every_alarm_does_not_cancel_it():
    def work():
        signal.alarm(0)
        sleep()

    assert interrupted(work)


def test_it_can_be_used_again_and_again():
    assert all(interrupted(sleep) for _ in range(3))


def test_the_time_of_an_outer_deadline_is_not_taken_for_the_inner_one():
    with pytest.raises(DeadlineError) as end, deadline(0.2) as outer, deadline(30) as inner:
        time.sleep(20)
    assert end.value.alarm is outer
    assert end.value.alarm is not inner


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL])
def test_code_that_takes_the_signal_for_itself_is_interrupted(handler):
    def work():
        signal.signal(SIGNAL, handler)
        sleep()

    assert interrupted(work)


def test_code_that_swallows_the_interrupt_is_interrupted_again(monkeypatch):
    monkeypatch.setattr("anypo.support.deadline.AGAIN", 0.1)
    swallowed = []

    def stubborn():
        while len(swallowed) < 3:
            try:
                sleep()
            except BaseException as error:
                swallowed.append(error)
        sleep()

    assert interrupted(stubborn)


HANGS = """
import signal, time
from anypo.rewards.timing import in_time

with in_time("reward 'x'", 0.2):
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    signal.signal(signal.SIGPROF, signal.SIG_IGN)
    time.sleep(60)
"""


def test_code_that_nothing_interrupts_ends_the_process_with_one_line():
    result = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.split("\n") == [
        "",
        "error: reward 'x' took longer than 0.2 s, and nothing could interrupt it; raise "
        "reward_timeout if it may",
        "",
    ]


def test_code_that_ends_needs_no_last_resort():
    with last_resort(30, "never"), last_resort(0, "never"):
        done = True
    assert done


def test_what_cleans_up_is_not_interrupted_by_the_other_signal():
    cleaned = []

    def work():
        try:
            while True:
                pass
        finally:
            for number in (signal.SIGUSR2, signal.SIGPROF):
                signal.raise_signal(number)
            cleaned.append("up")

    with pytest.raises(DeadlineError), deadline(0.05):
        work()
    assert cleaned == ["up"]
