"""Packages that anypo works without, until an option needs one."""

from importlib.util import find_spec

from anypo.errors import ConfigError


def check_installed(package: str, wanted_by: str, hint: str = "") -> None:
    """Refuse an option whose package is missing; the extra of anypo is called like the package.

    Raises:
        ConfigError: It is not installed.
    """
    if find_spec(package) is None:
        how = f"pip install 'anypo[{package}]'{hint}"
        raise ConfigError(f"{wanted_by} needs {package}, which is not installed: {how}")
