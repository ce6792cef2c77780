"""Run the chains of docs/pipelines.md, and keep what they print for its tables.

python benchmarks/pipelines.py      # about a quarter of an hour
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import tempfile
from pathlib import Path

from figures import keep

from anypo_cli import main as anypo

PAGE = Path(__file__).parents[1] / "docs" / "pipelines.md"
TOLD = r"^(?:eval .+ -> .+|wrote .+|left out.+|(?:mean|pass|majority)@8 .+)$"


def commands() -> list[str]:
    """The commands of the page that need nothing but the built-in task."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


def obey(command: str, *more: str) -> list[str]:
    """What a command of the page prints; of anypo's, with more arguments."""
    name, *arguments = command.split()
    if name == "anypo":
        return printed([*arguments, *more])
    subprocess.run(command, shell=True, check=True)
    return []


def printed(arguments: list[str]) -> list[str]:
    """The lines that anypo prints about evaluations, and about what it writes."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        if anypo(arguments):
            raise SystemExit(f"failed: anypo {' '.join(arguments)}")
    return [" ".join(line.split()) for line in re.findall(TOLD, told.getvalue(), re.M)]


def label(command: str) -> str:
    """What a command makes, or what it judges."""
    name, *arguments = command.split()
    if "--output" in arguments:
        return Path(arguments[arguments.index("--output") + 1]).name
    return f"eval {Path(arguments[1]).name}" if name == "anypo" else name


def main() -> None:
    """Print what the chains print, and keep it."""
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        for position, command in enumerate(commands()):
            row = {"position": position, "run": label(command), "prints": obey(command)}
            print(row, flush=True)
            keep("pipelines", row, "position")


if __name__ == "__main__":
    main()
