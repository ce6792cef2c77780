"""`anypo diff`: where two algorithms differ, stage by stage."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from anypo.composition.compose import compose
from anypo.composition.explain import Explanation
from anypo.hooks.specs import STAGES
from anypo_cli.printing import plain

SAME = "they answer every stage alike, with the same knobs"


def show_difference(one: str, other: str) -> None:
    """Print in what two stacks differ."""
    rows = differences([compose(stack).explain() for stack in (one, other)])
    console = Console(highlight=False)
    if not rows:
        console.print(SAME)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", one, other):
        table.add_column(plain(title), overflow="fold")
    for row in rows:
        table.add_row(*map(plain, row))
    console.print(table)


def differences(pair: list[Explanation]) -> list[tuple[str, str, str]]:
    """The stages, knobs and required models in which two algorithms differ, and those of each."""
    return [*_stage_rows(pair), *_knob_rows(pair), *_requirement_rows(pair)]


def _stage_rows(pair: list[Explanation]) -> list[tuple[str, str, str]]:
    return _differing([(stage, *(_answers(e, stage) for e in pair)) for stage in STAGES])


def _answers(explanation: Explanation, stage: str) -> str:
    """Every answer to a stage, outermost first, each with its formula and where it stands."""
    return "\n".join(
        f"{answer.plugin}{' (wraps)' if answer.wraps else ''}: {answer.formula}"
        for answer in explanation.answers
        if answer.stage == stage
    )


def _knob_rows(pair: list[Explanation]) -> list[tuple[str, str, str]]:
    """Only knobs that have an effect: a value that nothing reads makes no difference."""
    active = [
        {knob.name: str(knob.value) for knob in e.knobs if knob.name in e.active_knobs}
        for e in pair
    ]
    names = dict.fromkeys([*active[0], *active[1]])
    return _differing([(name, *(knobs.get(name, "-") for knobs in active)) for name in names])


def _requirement_rows(pair: list[Explanation]) -> list[tuple[str, str, str]]:
    needs = [", ".join(sorted(explanation.requires)) or "-" for explanation in pair]
    return _differing([("requires", *needs)])


def _differing(rows: list[tuple[str, ...]]) -> list[tuple[str, str, str]]:
    return [(name, one, other) for name, one, other in rows if one != other]
