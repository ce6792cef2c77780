"""docs/cli.md tells every command and every run option as it is."""

import re
from pathlib import Path

import generate
import pytest
import typer

from anypo.hooks import registry
from anypo.runs.options import RunConfig, panels
from anypo_cli.app import app
from anypo_cli.commands import command_of
from anypo_cli.late import Late
from anypo_tasks.addition.task import Addition

PAGE = (Path(generate.__file__).with_name("cli.md")).read_text(encoding="utf-8")
RUN = PAGE.partition("\n### `anypo run ")[2]
OWN = typer.main.get_command(app).commands
COMMANDS = {
    **{n: command.whole() if isinstance(command, Late) else command for n, command in OWN.items()},
    **{entry.name: command_of(entry.name) for entry in registry.entries("command")},
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_with_its_options(name):
    section = PAGE.partition(f"\n### `anypo {name}")[2].partition("\n### ")[0]
    assert section
    options = [p for p in COMMANDS[name].params if p.opts[0].startswith("--")]
    assert {p.name for p in options if not any(f"`{x}" in section for x in p.opts)} <= {"help"}


@pytest.mark.parametrize("name", RunConfig.model_fields)
def test_a_run_option_with_its_defaults(name):
    start = f"| `--{name.replace('_', '-')}"
    (line,) = (x for x in RUN.splitlines() if x.startswith((f"{start} ", f"{start}`", f"{start}/")))
    field = RunConfig.model_fields[name]
    default = field.get_default(call_default_factory=True)
    shown, text = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[2:4])
    assert text == field.description
    assert shown.partition(";")[0] in (("", "none") if default in (None, []) else [str(default)])
    on_task = Addition.options.get(name)
    assert shown.partition("addition: ")[2] == ("" if on_task is None else str(on_task))


def test_the_options_stand_in_the_blocks_of_the_help():
    titles = [f"**{panel}**" for panel in panels(RunConfig)]
    assert [line for line in RUN.splitlines() if line in titles] == titles


def test_it_is_what_the_code_says_now():
    for part in (generate.commands(), generate.run_options(), generate.environment()):
        assert part in PAGE, "cog -I docs -r docs/cli.md"
