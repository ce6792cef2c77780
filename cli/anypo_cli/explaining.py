"""`anypo explain`: what an algorithm does, read from its live hooks."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from anypo.composition.compose import compose
from anypo.composition.explain import Explanation
from anypo.hooks.requirements import REQUIREMENTS
from anypo.hooks.rollout import Inputs
from anypo_cli.anatomy import anatomies
from anypo_cli.families import below, trees
from anypo_cli.printing import plain
from anypo_cli.settings import pairs, value_of


def show_explanation(
    names: Sequence[str], hooks: Sequence[str], settings: Sequence[str], *, as_json: bool
) -> None:
    """Print the stack, the stages, the knobs and the models of an algorithm."""
    knobs = {name: value_of(text) for name, text in pairs("--set", settings).items()}
    explanation = compose(*names, knobs=knobs, hooks=pairs("--hook", hooks)).explain()
    name, known = explanation.name, anatomies()
    if as_json:
        told = explanation.as_dict()
        if name in known:
            told |= {"extends": known[name].bases, "extended_by": below(name, known)}
        print(json.dumps(told, indent=2, default=str))
        return
    console = Console(highlight=False)
    console.print(plain(explanation.name, "bold"), "")
    for table in (_stack(explanation), _stages(explanation), _knobs(explanation)):
        console.print(table, "")
    console.print(Text("learns from ", "bold") + plain(learns_from(explanation.inputs)))
    console.print(Text("requires ", "bold") + plain(needs(explanation)))
    for tree in trees(name, known) if name in known else ():
        console.print("", tree)


def needs(explanation: Explanation) -> str:
    """The models and estimates that a run of it holds."""
    others = [REQUIREMENTS[name].about for name in sorted(explanation.requires)]
    return ", ".join(["the policy", *others])


def learns_from(inputs: Inputs) -> str:
    """What a run of it must be given beside prompts."""
    columns = sorted(inputs.completions | inputs.columns)
    parts = ["completions of the policy"] * inputs.sampler
    parts += ["their rewards"] * inputs.scorer
    parts += [f"the columns {', '.join(columns)} of the data set"] * bool(columns)
    return " and ".join(parts) or "prompts alone"


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def _stack(explanation: Explanation) -> Table:
    table = _table("stack (bottom first)", "")
    for name, line in explanation.stack:
        table.add_row(plain(name), plain(line))
    return table


def _stages(explanation: Explanation) -> Table:
    table = _table("stage", "answered by", "formula", "source")
    for answer in explanation.answers:
        who = f"{answer.plugin} (wraps)" if answer.wraps else answer.plugin
        table.add_row(*map(plain, (answer.stage, who, answer.formula, answer.source)))
    return table


def _knobs(explanation: Explanation) -> Table:
    table = _table("knob", "value", "origin", "what it is")
    for knob in explanation.knobs:
        unread = "" if knob.name in explanation.active_knobs else " (no active stage reads it)"
        cells = knob.name, knob.value, knob.origin, knob.description + unread
        table.add_row(*map(plain, cells))
    return table
