"""The page of an algorithm: what its code says, and what it was measured to learn."""

from __future__ import annotations

import inspect
import re
from typing import Any

from curves import drawn
from generate import built_in, file, table, whole
from papers import sources
from tables import learned

from anypo import Algorithm
from anypo.composition.explain import Explanation, first_line
from anypo.hooks import registry
from anypo_cli.anatomy import anatomies
from anypo_cli.diffing import differences
from anypo_cli.explaining import learns_from, needs
from anypo_cli.families import heading

TASK = "addition"


def overview() -> str:
    """A line on every algorithm, with what it changes of which other, family by family."""
    known, by_family = anatomies(), dict[str, list[tuple[str, ...]]]()
    for name in built_in():
        entry = registry.find(name)
        plugin, changes = entry.load(), _literal(str(known[name]))
        row = f"[`{name}`](../{_path(plugin)})", changes, first_line(plugin), sources(plugin)
        by_family.setdefault(heading(entry), []).append(row)
    head = ("name", "changes", "what it is", "source")
    parts = []
    for title, rows in sorted(by_family.items()):
        name, _, about = title.partition(": ")
        parts.append(f"### {name.replace('_', ' ').capitalize()}\n\n{about}\n{table(head, rows)}")
    return "\n" + "".join(parts)


def page_of(name: str) -> str:
    """All that is known of an algorithm; of a modifier, on top of grpo."""
    plugin, algorithm = registry.find(name).load(), whole(name)
    explanation = algorithm.explain()
    return "\n\n".join(
        [
            f"# {name}",
            f"**{first_line(inspect.getmodule(plugin))}** {inspect.getdoc(plugin)}",
            f"Source: {sources(plugin)}",
            f"```sh\nanypo run {algorithm.name}\n```",
            f"It learns from {learns_from(explanation.inputs)}, and holds {needs(explanation)}.",
            _formulas(explanation),
            _knobs(explanation),
            _changes(explanation),
            _measured(algorithm),
            f"## Code\n{file(_path(plugin))}",
        ]
    )


def _path(plugin: Any) -> str:
    return f"plugins/{plugin.__module__.replace('.', '/')}.py"


def _formulas(explanation: Explanation) -> str:
    rows = []
    for answer in explanation.answers:
        who = f"`{answer.plugin}`{' (wraps)' * answer.wraps}"
        rows.append((f"`{answer.stage}`", who, _literal(answer.formula), f"`{answer.source}`"))
    return "## Formulas\n" + table(("stage", "answered by", "formula", "code"), rows)


def _knobs(explanation: Explanation) -> str:
    rows = []
    for knob in explanation.knobs:
        option = f"`--{knob.name.replace('_', '-')}`"
        unread = "" if knob.name in explanation.active_knobs else " (no active stage reads it)"
        told = _literal(knob.description) + unread
        rows.append((option, f"`{knob.value}`", knob.origin, told))
    return "## Knobs\n" + table(("knob", "value", "origin", "what it is"), rows)


def _changes(explanation: Explanation) -> str:
    """In what it differs from the algorithm below it, if it stands on one."""
    *below, own = (name for name, _ in explanation.stack)
    base = next((name for name in reversed(below) if name in built_in()), None)
    if base is None:
        return ""
    changes = differences([whole(base).explain(), explanation])
    rows = [(f"`{what}`", *map(_literal, values)) for what, *values in changes]
    return f"## What it changes of {base}\n" + table(("", f"`{base}`", f"`{own}`"), rows)


def _measured(algorithm: Algorithm) -> str:
    """What it learned on the built-in task, as `benchmarks/learning.py` found."""
    head = "## What it learns on the built-in task\n\n"
    command = f"`python benchmarks/learning.py {algorithm.name.rpartition('+')[2]}`"
    rows = learned(algorithm.name)
    if not rows:
        return f"{head}Not run yet: {command}."
    scores = [(row["seed"], *(f"{score:.3f}" for score in row["score"])) for row in rows]
    curves = {row["seed"]: row["curve"] for row in rows if "curve" in row}
    figure = f"<figure>{drawn(curves)}</figure>" if curves else "Its curve was not kept yet."
    told = f"The held-out score before and after ({command}){_suits(algorithm)}.\n"
    return head + told + table(("seed", "before", "after"), scores) + figure


def _suits(algorithm: Algorithm) -> str:
    """In which options and knobs it differs there."""
    options = algorithm.stack.preferred("task_options", TASK)
    settings = options | algorithm.stack.preferred("task_knobs", TASK)
    listed = ", ".join(f"`{name}` = {value}" for name, value in settings.items())
    return f", with {listed}" if listed else ""


def _literal(text: str) -> str:
    """A text in which nothing is markup."""
    return re.sub(r"([\\`*_\[\]<>])", r"\\\1", text).replace("\n", "<br>")
