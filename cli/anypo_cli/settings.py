"""Read settings from the command line."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

from anypo.errors import ConfigError
from anypo.hooks import registry

NEEDS = ("reference", "critic", "teacher", "pairs", "labels", "rewards")  # of algorithms


def pairs(option: str, arguments: Sequence[str]) -> dict[str, str]:
    """The pairs given with an option that may be repeated.

    Raises:
        ConfigError: An argument is no pair, or a key comes twice.
    """
    found: dict[str, str] = {}
    for argument in arguments:
        key, separator, value = argument.partition("=")
        if not separator or not key:
            raise ConfigError(f"{option} {argument}: write it as KEY=VALUE")
        if key in found:
            raise ConfigError(f"{option} {key} is given twice")
        found[key.replace("-", "_")] = value
    return found


def values_of(option: str, args: Sequence[str]) -> list[str]:
    """What is given with an option, before anybody knows which options there are."""
    following = [after for at, after in pairwise(args) if at == option]
    joined = [a.partition("=")[2] for a in args if a.startswith(f"{option}=")]
    return following + joined


def look_up(stack: Iterable[str]) -> None:
    """Refuse a misspelt name of an algorithm at once: that need not wait for torch.

    Raises:
        PluginError: A name, or one of several joined by `+`, is unknown or of no use.
    """
    for names in stack:
        for name in names.split("+"):
            if not registry.names_code(name):
                registry.find(name)


def refuse_to_run(file: str, named: Sequence[str]) -> None:
    """Refuse code that a file names and the command line does not, if there is any.

    Raises:
        ConfigError: There is.
    """
    if named:
        raise ConfigError(
            f"'{file}' names code to run ({named[0]}): read it, and if you trust it, add "
            "--trust-config"
        )


def value_of(text: str) -> Any:
    """The TOML value that the text is, or else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
