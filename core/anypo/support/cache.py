"""Where anypo keeps what it need not make twice: `$XDG_CACHE_HOME/anypo` or `~/.cache/anypo`."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anypo.errors import ConfigError, one_line

DISK = ("ENOSPC", "EDQUOT", "EFBIG", "EROFS", "EACCES", "EIO")  # whatever library meets them


def cache_directory() -> Path:
    """The directory, made if need be.

    Raises:
        ConfigError: It cannot be written.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "anypo"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
    except OSError as error:
        raise _refusal(cache, error) from error
    return cache


@contextmanager
def writing(cache: Path) -> Iterator[None]:
    """Blame the disk, where something in the block fails because of it.

    Raises:
        ConfigError: The cache cannot be written.
    """
    try:
        yield
    except Exception as error:
        if any(os.strerror(getattr(errno, name)) in str(error) for name in DISK):
            raise _refusal(cache, error) from error
        raise


def _refusal(cache: Path, error: Exception) -> ConfigError:
    return ConfigError(
        f"the cache '{cache}' cannot be written: {one_line(error)}; XDG_CACHE_HOME names another "
        "place"
    )
