import re
import signal
import threading
import time

import pytest

from anypo.deadline import SIGNAL, DeadlineError, deadline
from anypo.errors import ConfigError

LIMIT = 0.2


@pytest.fixture(autouse=True)
def _nothing_is_left_running():
    threads, handler = set(threading.enumerate()), signal.getsignal(SIGNAL)
    yield
    assert set(threading.enumerate()) <= threads
    assert signal.getsignal(SIGNAL) == handler


def spin():
    while True:
        pass


def test_a_block_that_sleeps_is_interrupted():
    with pytest.raises(DeadlineError), deadline(LIMIT):
        time.sleep(30)


def test_a_block_that_computes_is_interrupted():
    with pytest.raises(DeadlineError), deadline(LIMIT):
        spin()


@pytest.mark.timeout(3)
def test_a_block_inside_a_c_function_is_interrupted():
    # Bug: the timer is a Python thread; it cannot send the signal while C code holds the GIL.
    with pytest.raises(DeadlineError), deadline(LIMIT):
        re.search("(a+)+$", "a" * 60 + "b")


def test_a_block_that_ends_in_time_is_not_interrupted():
    with deadline(30):
        done = True
    assert done


def test_no_signal_comes_after_the_block():
    with deadline(0.05):
        pass
    time.sleep(0.15)


def test_no_limit_works_in_any_thread():
    ended = []

    def work():
        with deadline(0):
            ended.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ended == [True]


def test_a_thread_that_cannot_be_interrupted_is_told_so():
    errors = []

    def work():
        try:
            with deadline(LIMIT):
                pass
        except ConfigError as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == ["only the main thread on POSIX can be timed; set reward_timeout to 0"]


def test_an_error_of_the_block_passes():
    with pytest.raises(ValueError, match="mine"), deadline(30):
        raise ValueError("mine")


def test_except_exception_does_not_swallow_it():
    with pytest.raises(DeadlineError), deadline(LIMIT):
        try:
            time.sleep(30)
        except Exception:
            pytest.fail("swallowed")


def test_finally_blocks_run_when_it_is_raised():
    cleaned = []
    with pytest.raises(DeadlineError), deadline(LIMIT):
        try:
            time.sleep(30)
        finally:
            cleaned.append(True)
    assert cleaned == [True]


def test_the_handler_that_was_there_before_is_put_back():
    received = []
    before = signal.signal(SIGNAL, lambda *_: received.append(True))
    try:
        with pytest.raises(DeadlineError), deadline(LIMIT):
            time.sleep(30)
        signal.raise_signal(SIGNAL)
    finally:
        signal.signal(SIGNAL, before)
    assert received == [True]


def test_an_inner_limit_leaves_the_outer_one_in_force():
    with pytest.raises(DeadlineError), deadline(LIMIT):
        with deadline(30):
            pass
        time.sleep(30)


def test_an_alarm_of_the_block_neither_stops_it_nor_is_stopped():
    rang = []
    before = signal.signal(signal.SIGALRM, lambda *_: rang.append(True))
    try:
        with pytest.raises(DeadlineError), deadline(LIMIT):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            time.sleep(30)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert rang == [True]


def test_it_can_be_used_again_and_again():
    for _ in range(3):
        with pytest.raises(DeadlineError), deadline(0.05):
            time.sleep(30)
