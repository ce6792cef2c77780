"""The code of others may raise what it likes, and changes nothing of the process."""

import os
import signal
import subprocess
import sys

import pytest
import torch

from anypo.errors import AnypoError, PluginError, RewardError, told
from anypo.support.foreign import foreign


def explained(error):
    return PluginError(f"it failed: {told(error)}")


def failure(error):
    """What becomes of an error."""
    with pytest.raises(PluginError) as caught, foreign(explained):
        raise error
    return str(caught.value)


@pytest.mark.parametrize("code", [0, None, 3, "bye"])
def test_an_attempt_to_end_the_process_is_an_error(code):
    assert failure(SystemExit(code)).startswith("it failed: SystemExit")


def test_errors_that_are_told_already_pass_unless_they_are_not_to():
    mine = RewardError("mine")
    with pytest.raises(RewardError) as caught, foreign(explained):
        raise mine
    assert caught.value is mine
    with pytest.raises(PluginError, match="it failed: RewardError: mine"), foreign(explained, ()):
        raise mine


def test_a_user_who_interrupts_is_not_taken_for_a_failure():
    with pytest.raises(KeyboardInterrupt), foreign(explained):
        raise KeyboardInterrupt


def test_a_huge_error_is_cut_short():
    assert len(failure(ValueError("x" * 200_000))) < 400


def test_an_error_that_cannot_be_told_is_told():
    class MuteError(Exception):
        def __str__(self):
            raise ZeroDivisionError

    says = failure(MuteError())
    assert says == "it failed: MuteError: it cannot say why, because of ZeroDivisionError"


def test_a_terminal_obeys_nothing_of_an_error():
    says = failure(ValueError("\x1b[31mred\x1b[0m \x1b]0;title\x07\u202edrow\r\ud800\x9b2J"))
    assert says == "it failed: ValueError: red drow2J"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("full"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memo"
            "ry: you tried to allocate 4000000000000 bytes. Error code 12"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes."),
    ],
)
def test_a_lack_of_memory_is_nobodys_fault(error):
    with pytest.raises(RuntimeError) as caught, foreign(explained):
        raise error
    assert caught.value is error


def test_the_real_lack_of_memory_of_a_cpu_is_known():
    with pytest.raises(RuntimeError, match="memory"), foreign(explained):
        torch.empty(10**15)


def _change(name, tmp_path):
    match name:
        case "dtype":
            torch.set_default_dtype(torch.float64)
        case "gradients":
            torch.set_grad_enabled(False)
        case "threads":
            torch.set_num_threads(3)
        case "folder":
            os.chdir(tmp_path)
        case "signals":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        case "streams":
            sys.stdout = sys.stderr


STATE = {
    "dtype": torch.get_default_dtype,
    "gradients": torch.is_grad_enabled,
    "threads": torch.get_num_threads,
    "folder": os.getcwd,
    "signals": lambda: signal.getsignal(signal.SIGTERM),
    "streams": lambda: sys.stdout,
}


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("name", STATE)
def test_what_it_changes_of_the_process_is_put_back(name, fails, tmp_path):
    before = STATE[name]()
    try:
        with foreign(explained):
            _change(name, tmp_path)
            assert STATE[name]() != before
            if fails:
                raise ZeroDivisionError
    except AnypoError:
        assert fails
    assert STATE[name]() == before


CLOSES = """
import os, sys
from anypo.support.foreign import foreign

held = sys.stdout
print("before")
with foreign(None):
    sys.stdout.close()
    sys.stderr.close()
print("after")
print("held", file=held)
print("error", file=sys.stderr)
assert open("file", "w").fileno() > 2
"""


def test_streams_that_it_closes_are_opened_again(tmp_path):
    result = subprocess.run(
        [sys.executable, "-c", CLOSES], capture_output=True, text=True, cwd=tmp_path
    )
    assert (result.returncode, result.stderr) == (0, "error\n")
    assert result.stdout.split() == ["before", "after", "held"]


def test_a_directory_that_is_gone_is_no_further_error(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")

    def leave():
        os.chdir(tmp_path)
        (tmp_path / "gone").rmdir()
        raise ZeroDivisionError

    with pytest.raises(PluginError, match="ZeroDivisionError"), foreign(explained):
        leave()
