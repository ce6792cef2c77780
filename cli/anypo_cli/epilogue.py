"""What a run says when it has ended: what has changed, where everything is, and what comes next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anypo.errors import one_line
from anypo.models.load import has_scalar_head, load_config
from anypo.runs.before_after import Change, HeldOut
from anypo.runs.layout import CONFIG, MODEL
from anypo.runs.recipe import Recipe, read_recipe

SHOWN, WIDTH = 3, 72  # prompts, and characters of each text


def changes(held_out: HeldOut) -> Iterator[str]:
    """A few held-out prompts, before and after."""
    for change in held_out.changes(SHOWN):
        yield f"held out: {_short(_said(change.prompt))}"
        yield from _told(change)


def _told(change: Change) -> Iterator[str]:
    for when, row in (("before", change.before), ("after", change.after)):
        score = row.get("reward")
        told = "" if score is None else f" {score:.3g}"
        yield f"  {when}{told}: {_short(row['completion'])}"


def next_steps(folder: Path) -> Iterator[str]:
    """The commands that go on from here."""
    if not (folder / MODEL).is_dir():
        return
    run, model = (shlex.quote(str(path)) for path in (folder, folder / MODEL))
    recipe = read_recipe(str(folder / CONFIG))
    if has_scalar_head(load_config(str(folder / MODEL))):
        yield f"score with it: anypo run NAME --reward {run}"
    else:
        yield f"chat:     anypo chat {run}"
        yield f"evaluate: anypo eval {run}{_judged(recipe)}"
        yield f"serve:    anypo serve {run}"
    yield f"train on: anypo run {recipe.algorithm} --model {model}"
    more = 2 * int(recipe.options.get("steps", 1))
    yield f"go on:    anypo run --resume {run} --steps {more}"


def _judged(recipe: Recipe) -> str:
    """The held-out data and the rewards of the run; a task has its own."""
    options = recipe.options
    if not options.keys() & {"data", "eval_data"}:
        return ""
    data, rewards = options.get("eval_data") or ["FILE"], options.get("reward") or ["NAME"]
    given = [("--data", name) for name in data] + [("--reward", name) for name in rewards]
    return "".join(f" {option} {shlex.quote(str(value))}" for option, value in given)


def _said(prompt: Any) -> str:
    """A prompt, of a conversation its last message."""
    return str(prompt[-1].get("content")) if isinstance(prompt, list) else str(prompt)


def _short(text: str) -> str:
    line = one_line(text)
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 2]} …"
