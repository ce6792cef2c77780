"""Run the chains of docs/pipelines.md, and keep what they print for its tables.

python benchmarks/pipelines.py      # about five minutes
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import tempfile
from pathlib import Path

from figures import keep

from anypo_cli import main as anypo

PAGE = Path(__file__).parents[1] / "docs" / "pipelines.md"


def commands() -> list[list[str]]:
    """The commands of the page that need nothing but the built-in task, without `anypo`."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [line.split()[1:] for block in blocks for line in block.splitlines()]


def printed(command: list[str]) -> list[str]:
    """The lines that a run prints about its evaluations."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        if anypo(command):
            raise SystemExit(f"failed: anypo {' '.join(command)}")
    return re.findall(r"^eval .+ -> .+$", told.getvalue(), re.M)


def main() -> None:
    """Print what the chains print, and keep it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for position, command in enumerate(commands()):
            row = {"position": position, "run": command[1], "prints": printed(command)}
            print(row, flush=True)
            keep("pipelines", row, "position")


if __name__ == "__main__":
    main()
