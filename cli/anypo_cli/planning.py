"""`anypo run … --plan`: what would happen, and what it would take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from anypo.runs.observer import Observer
from anypo.runs.plan import Plan, plan
from anypo.runs.setup import longest_of
from anypo_cli.explaining import needs
from anypo_cli.launching import refuse_too_many
from anypo_cli.printing import plain, say

if TYPE_CHECKING:
    from anypo.composition.algorithm import Algorithm
    from anypo.runs.options import RunConfig

GIB = 2**30
SHOWN = 0.005  # GiB; less is not worth a line


class Notes(Observer):
    """Says what a run would say first."""

    def note(self, text: str) -> None:
        """See `Observer`."""
        say(f"note: {text}")


def show_plan(algorithm: Algorithm, config: RunConfig, notes: Sequence[str]) -> None:
    """Print the notes, and what a run would do, and take of memory and disk.

    Raises:
        AnypoError: It would be refused.
    """
    refuse_too_many(config.processes or 1)
    observer = Notes()
    for note in notes:
        observer.note(note)
    found = plan(algorithm, config, observer)
    console = Console(highlight=False)
    facts = _table()
    for name, fact in _facts(found):
        facts.add_row(plain(name, "bold"), plain(fact))
    console.print(facts, "")
    console.print(_memory(found), "")
    for what in found.uncounted:
        say(f"note: not counted: {what}")
    console.print(plain(f"disk: {', '.join(_disk(found))}"))


def _facts(found: Plan) -> Iterator[tuple[str, str]]:
    setup, config, rollout = found.setup, found.setup.config, found.rollout
    longest = longest_of(setup.sets)
    tokens = sum(len(s.prompt_ids) + len(s.completion_ids) for s in rollout.samples)
    updates = config.epochs * config.minibatches
    yield "algorithm", " + ".join(layer.name for layer in found.algorithm.layers)
    yield "needs", needs(found.algorithm.explain())
    trained = "all" if found.trained == found.parameters else _count(found.trained)
    yield "model", f"{setup.model}: {_count(found.parameters)} parameters, {trained} trained"
    yield "data", f"{len(setup.prompts):,} prompts, the longest of {longest} tokens"
    if held_out := setup.held_out or setup.held_out_rows:
        rows = sum(map(len, held_out.values()))
        yield "held out", f"{rows:,} rows, every {config.eval_every} steps"
    yield "steps", f"{config.steps:,} of {rollout.prompts} prompts"
    drawn = f"{rollout.drawn:,} completions drawn, " if rollout.drawn else ""
    yield "a step", f"{drawn}{len(rollout.samples):,} learnt from, in {_times(updates, 'update')}"
    yield "its tokens", f"at most {tokens:,}; an update takes {_times(found.passes, 'pass')}"
    where = f"{found.runtime.device}, {str(found.runtime.dtype)[6:]}"
    count = _times(config.processes or 1, "process")
    yield "runs on", f"{where}, in {count}, {config.token_budget:,} tokens at a time"


def _count(parameters: int) -> str:
    return f"{parameters / 1e9:.2f} B" if parameters >= 1e8 else f"{parameters:,}"


def _times(number: int, what: str) -> str:
    plural = f"{what}es" if what.endswith("s") else f"{what}s"
    return f"{number:,} {what if number == 1 else plural}"


def _memory(found: Plan) -> Table:
    table = _table("memory of a process, GiB", "")
    for name, size in found.always.items():
        _add(table, name, size)
    for phase, parts in found.phases.items():
        for name, size in parts.items():
            _add(table, f"{phase}: {name}", size)
    table.add_row(plain("at most, in one phase", "bold"), plain(f"{found.most / GIB:.2f}", "bold"))
    return table


def _add(table: Table, name: str, size: float) -> None:
    if size / GIB >= SHOWN:
        table.add_row(plain(name), plain(f"{size / GIB:.2f}"))


def _disk(found: Plan) -> Iterator[str]:
    config, model, checkpoint = found.setup.config, found.disk["model"], found.disk["checkpoint"]
    yield f"model {model / GIB:.2f} GiB"
    stay = config.keep_checkpoints + 1 + (config.keep_best is not None)  # one while it is written
    count = f"at most {stay}" if config.keep_checkpoints else "all of them kept"
    yield f"checkpoints of {checkpoint / GIB:.2f} GiB, {count}"


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, show_header=bool(titles), header_style="bold")
    for title in titles or ("", ""):
        table.add_column(title, overflow="fold")
    return table
