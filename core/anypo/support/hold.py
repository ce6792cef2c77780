"""Something that one process alone may use, until that process ends, whatever ends it."""

import os
from pathlib import Path


class Hold:
    """Of an empty file that stands for it, by a lock of the operating system.

    The lock falls when this process closes the file, whoever opened it again: nobody may read it.
    Where there are no such locks, as on some network file systems, whoever asks is given it.
    """

    def __init__(self) -> None:
        self._opened: int | None = None

    def take(self, file: Path) -> bool:
        """Hold a file, which is made if need be, in place of any other; not if a process does.

        Raises:
            OSError: It cannot be made.
        """
        self.release()
        opened = os.open(file, os.O_RDWR | os.O_CREAT, 0o666)
        if _is_locked(opened):
            os.close(opened)
            return False
        self._opened = opened
        return True

    def release(self) -> None:
        """Let others have it."""
        if self._opened is not None:
            os.close(self._opened)
            self._opened = None


def _is_locked(opened: int) -> bool:
    """Whether another process has the lock; if not, this one has it now."""
    try:
        import fcntl

        # Not flock, whose locks live on in what was forked by a process that is gone.
        fcntl.lockf(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return True
    except (ImportError, OSError):
        return False
    return False
