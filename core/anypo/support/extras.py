"""Packages that anypo works without, until an option needs one."""

from importlib.util import find_spec

from anypo.errors import ConfigError


def check_installed(
    package: str, wanted_by: str, hint: str = "", *, extra: str | None = None
) -> None:
    """Refuse what needs a package that is missing.

    Args:
        package: As it is imported.
        wanted_by: What needs it.
        hint: Said after the command that installs it.
        extra: Of anypo, that brings it along; called like the package if None.

    Raises:
        ConfigError: It is not installed.
    """
    if find_spec(package) is None:
        how = f"pip install 'anypo[{extra or package}]'{hint}"
        raise ConfigError(f"{wanted_by} needs {package}, which is not installed: {how}")
