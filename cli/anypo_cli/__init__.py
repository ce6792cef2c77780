"""The command line: `anypo list`, `anypo explain`, `anypo diff`, `anypo check`, `anypo new`,
`anypo run`."""

from anypo_cli.app import main

__all__ = ["main"]
