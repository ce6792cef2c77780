"""The commands, and how errors are shown."""

from __future__ import annotations

import atexit
import gc
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from anypo.errors import AnypoError, told
from anypo.hooks import registry
from anypo_cli.commands import Commands
from anypo_cli.late import Late
from anypo_cli.previewing import PreviewGroup
from anypo_cli.printing import say
from anypo_cli.processes import DEBUG, is_first, tells_first
from anypo_cli.run import RunGroup
from anypo_cli.settings import NEEDS, look_up, pairs
from anypo_cli.texts import TextCommand

AsJSON = Annotated[bool, typer.Option("--json", help="Print JSON, whose keys stay the same.")]

app = typer.Typer(
    cls=Commands,
    help="Any policy optimization: run, list and explain LLM post-training algorithms.",
    epilog=f"{DEBUG}, anywhere, shows the traceback of an error. Environment variables: "
    "ANYPO_DISABLE_PLUGINS=NAME,DISTRIBUTION:NAME,DISTRIBUTION:* leaves plugins out; "
    "ANYPO_TRACE_HOOKS=1 prints every hook call of a run, 2 those of the check before it too.",
)


def _show_versions(asked: bool) -> None:
    if asked:
        others = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
        print(f"anypo {version('anypo')} ({others}, Python {platform.python_version()})")
        raise typer.Exit


@app.callback()
def of_all(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_show_versions, help="Show versions."),
    ] = False,
) -> None:
    """Options that go before every command."""


@app.command("list", cls=TextCommand)
def list_command(
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[WORD]...", help="The same as --search.")
    ] = None,
    search: Annotated[
        list[str] | None,
        typer.Option(metavar="WORD...", help="Only what says all of these words of itself."),
    ] = None,
    needs: Annotated[
        list[str] | None,
        typer.Option(metavar="|".join(NEEDS), help="Only algorithms that need it; imports all."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Import every plugin, to find all that are broken.")
    ] = False,
    kind: Annotated[
        str | None, typer.Option(metavar="KIND", help=f"Only one of {', '.join(registry.KINDS)}.")
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """List all plugins: algorithms, samplers, rewards, tasks, environments, observers, commands."""
    from anypo_cli.listing import show_list

    said = [word for text in [*(search or []), *(words or [])] for word in text.split()]
    show_list(kind, words=said, needs=needs or [], check=check, as_json=as_json)


@app.command()
def explain(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Bottom first; or file.py:Class.")
    ],
    hook: Annotated[
        list[str] | None, typer.Option(metavar="STAGE=NAME", help="Take one stage from a plugin.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a knob.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(metavar="KIND", help="Of what is meant, where several kinds have the name."),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Explain an algorithm (stages, formulas, knobs), or another plugin (options)."""
    from anypo_cli.describing import other_than_algorithm, show_description

    if entry := other_than_algorithm(names, kind, is_changed=bool(hook or setting)):
        show_description(entry, as_json=as_json)
        return
    look_up([*names, *pairs("--hook", hook or []).values()])
    from anypo_cli.explaining import show_explanation

    show_explanation(names, hook or [], setting or [], as_json=as_json)


@app.command()
def diff(
    one: Annotated[str, typer.Argument(metavar="NAME")],
    other: Annotated[str, typer.Argument(metavar="NAME")],
) -> None:
    """Show where two algorithms differ: stages, formulas, knobs, models required."""
    look_up([one, other])
    from anypo_cli.diffing import show_difference

    show_difference(one, other)


@app.command()
def check(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Bottom first; or file.py:Class.")
    ],
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set a knob.")
    ] = None,
) -> None:
    """Check an algorithm or a sampler, property by property; status 1 if one fails."""
    from anypo_cli.checking import show_report

    if not show_report(names, setting or []):
        raise typer.Exit(1)


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as my-algo.")],
    directory: Annotated[
        str | None, typer.Option(metavar="DIR", help="Where to write it; by default NAME.")
    ] = None,
) -> None:
    """Write a package with a plugin that works, with its test, to be made into your own."""
    from anypo_cli.creating import create_package

    create_package(name, directory)


@app.command("eval", cls=Late)
def eval_command() -> None:
    """Judge a model by several completions of every prompt: mean@k, pass@k, majority@k."""


@app.command("sample", cls=Late)
def sample_command() -> None:
    """Write what a model says, with scores, in the formats that algorithms learn from."""


@app.command()
def chat(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Run directory, model directory or hub name.")
    ],
    compare: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Show another one's answers beside.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="What a conversation begins with.")] = None,
    temperature: Annotated[
        float, typer.Option(min=0, help="Of sampling; 0: always the likeliest token.")
    ] = 1.0,
    max_length: Annotated[int, typer.Option(min=1, help="Tokens of an answer, at most.")] = 512,
    seed: Annotated[int | None, typer.Option(help="To have the same answers again.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with a model.")
    ] = False,
) -> None:
    """Talk to the model of a run, or to any other; texts may come through a pipe."""
    from anypo_cli.chatting import asking, chat

    models = [model] if compare is None else [model, compare]
    chat(models, system, asking(temperature, max_length, seed), trusted=trust_remote_code)


@app.command()
def push(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Run directory.")],
    repository: Annotated[str, typer.Argument(metavar="REPO", help="On the hub, as USER/NAME.")],
    private: Annotated[bool, typer.Option("--private", help="Make it one that few see.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Write the card, list the files, send nothing.")
    ] = False,
) -> None:
    """Upload the model of a run to the hub, with a card that says how it was made."""
    from anypo_cli.pushing import push

    push(run, repository, private=private, dry_run=dry_run)


app.add_typer(
    typer.Typer(),
    name="run",
    cls=RunGroup,
    subcommand_metavar="NAME... [OPTIONS]",
    help="Train a model. `anypo run NAME --help` shows the options of an algorithm; "
    "`anypo run --resume DIR` goes on with a run.",
)

app.add_typer(
    typer.Typer(),
    name="preview",
    cls=PreviewGroup,
    subcommand_metavar="NAME... [OPTIONS]",
    help="Show what an algorithm would read of its data: rows as tokens, which of them are learnt, "
    "lengths, columns. Takes the options of `anypo run`.",
)


def _of_a_sampler(option: str) -> str:
    """What to do about an option that nobody knows, if a sampler would bring it along."""
    name = option.lstrip("-").replace("-", "_")
    owners = [e.name for e in registry.entries("sampler") if name.startswith(e.option_prefix)]
    return f"; it comes with --sampler {owners[0]}" if owners else ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status; it ends in one line, whatever happens."""
    atexit.register(gc.freeze)  # else Python, when it ends, looks for garbage in all that there is
    given = list(sys.argv[1:] if arguments is None else arguments)
    plain = [argument for argument in given if argument != DEBUG]
    try:
        for sentence in registry.ineffective() if is_first() else ():
            say(f"note: {sentence}")
        return app(plain or ["--help"], prog_name="anypo", standalone_mode=False) or 0
    except BaseException as error:  # some libraries panic with what is no Exception
        if DEBUG in given or isinstance(error, SystemExit):
            raise
        if tells_first():
            say(f"error: {_told(error)}")
        return getattr(error, "exit_code", 1)


def _told(error: BaseException) -> str:
    if isinstance(error, typer.TyperException):
        return error.format_message() + _of_a_sampler(getattr(error, "option_name", ""))
    if isinstance(error, AnypoError | OSError):
        return str(error)
    return f"{told(error)}: a bug of anypo, or of what it ran; {DEBUG} shows the traceback"
