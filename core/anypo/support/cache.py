"""Where anypo keeps what it need not make twice: `$XDG_CACHE_HOME/anypo` or `~/.cache/anypo`."""

import os
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from anypo.errors import ConfigError
from anypo.support.saving import UNFINISHED

FORGOTTEN = 86400  # seconds, after which whoever made it was killed


def cache_directory() -> Path:
    """The directory, made if need be.

    Raises:
        ConfigError: It cannot be written.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "anypo"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=cache).close()
        _sweep(cache)
    except OSError as error:
        raise ConfigError(
            f"the cache '{cache}' cannot be written: {error}; XDG_CACHE_HOME names another place"
        ) from error
    return cache


def _sweep(cache: Path) -> None:
    for left in cache.glob(f"{UNFINISHED}*"):
        with suppress(FileNotFoundError):  # another run has just finished or deleted it
            if time.time() - left.stat().st_mtime > FORGOTTEN:
                shutil.rmtree(left, ignore_errors=True)
