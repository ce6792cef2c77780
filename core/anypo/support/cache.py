"""Where anypo keeps what it need not make twice: `$XDG_CACHE_HOME/anypo` or `~/.cache/anypo`."""

import os
import tempfile
from pathlib import Path

from anypo.errors import ConfigError


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
        raise ConfigError(
            f"the cache '{cache}' cannot be written: {error}; XDG_CACHE_HOME names another place"
        ) from error
    return cache
