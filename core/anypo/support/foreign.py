"""Call code that is not this project's: of a plugin, a reward, a model, a data set."""

import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from traceback import walk_tb
from types import CodeType
from typing import Any

from anypo.errors import AnypoError

SIGNALS = [getattr(signal, n) for n in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, n)]
OUTPUTS = ("stdout", 1), ("stderr", 2)  # and their file descriptors
handler_of = getattr(sys.modules.get("_signal"), "getsignal", signal.getsignal)  # in C: quick
NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "ALLOC_FAILED")


@contextmanager
def foreign(
    explain: Callable[[BaseException], AnypoError],
    passing: tuple[type[Exception], ...] = (AnypoError,),
) -> Iterator[None]:
    """Turn what the block raises into an AnypoError, and put back what it changes of the process.

    An attempt to end the process (SystemExit) is an error like others. A lack of memory for tensors
    passes whoever asked for them: the run knows what helps.

    Args:
        explain: Makes an error that names whose code it was.
        passing: What is raised as it is.
    """
    settings = [(read, write, read()) for read, write in _settings()]
    copies = {number: os.dup(number) for _, number in OUTPUTS}
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, passing) or lacks_memory(error):
            raise
        raise explain(error) from error
    finally:
        for name, number in OUTPUTS:
            _reopen(getattr(sys, f"__{name}__"), number, copies[number])
            os.close(copies[number])
        for read, write, before in settings:
            if before is not None and read() != before:
                with suppress(OSError):  # of a directory that is gone
                    write(before)


def lacks_memory(error: BaseException) -> bool:
    """Whether there was no memory left for a tensor, on whatever device."""
    is_told = isinstance(error, RuntimeError) and any(words in str(error) for words in NO_MEMORY)
    return is_told or type(error).__name__ == "OutOfMemoryError"


def place(error: BaseException, module: str, code: CodeType | None = None) -> str:
    """The last line of a package that was running, as ` (file:line)`; nothing if none was.

    Args:
        error: As it was caught.
        module: Any one of the package.
        code: What counts as the package's, wherever it stands.
    """
    package, found = module.partition(".")[0], ""
    for frame, line in walk_tb(error.__traceback__):
        name = frame.f_globals.get("__name__", "")
        if frame.f_code is code or name.partition(".")[0] == package:
            found = f" ({location(frame.f_code.co_filename, name, line)})"
    return found


def location(file: str, module: str, line: int) -> str:
    """`file:line`, the file from its top-level package on."""
    path = Path(file)
    depth = len(module.split(".")) + (path.name == "__init__.py")
    return f"{'/'.join(path.parts[-depth:])}:{line}"


def _settings() -> Iterator[tuple[Callable[[], Any], Callable[[Any], Any]]]:
    """What any code can change of the process it runs in: how to read it, and to set it."""
    yield _folder, os.chdir
    for name, _ in OUTPUTS:
        yield partial(getattr, sys, name), partial(setattr, sys, name)
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            yield partial(handler_of, number), partial(signal.signal, number)
    if torch := sys.modules.get("torch"):  # which the registry does without
        yield torch.get_default_dtype, torch.set_default_dtype
        yield torch.is_grad_enabled, torch.set_grad_enabled
        yield torch.get_num_threads, torch.set_num_threads


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:
        return None


def _reopen(stream: Any, number: int, copy: int) -> None:
    """Have a standard stream that was closed go where it went, whoever holds it."""
    if isinstance(stream, io.TextIOWrapper) and stream.closed:
        os.dup2(copy, number)
        raw: Any = io.BufferedWriter(io.FileIO(number, "w"))
        stream.__init__(raw, "utf-8", "backslashreplace", write_through=True)  # type: ignore[misc]
