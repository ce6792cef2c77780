"""Some of a run's completions, evenly chosen: whole groups, from all of its steps and prompts."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from anypo import RunRecord

LONGEST = 8000  # characters of a text
STEPS = 40  # at most

Item = TypeVar("Item")
Unit = tuple[int, str]  # a step, and a group of it


def some_completions(run: RunRecord, budget: int) -> list[dict[str, Any]]:
    """Some completions of the training and of each held-out set, within about so many bytes.

    A set has a `name`, the texts of its `prompts`, its `units` (each a step, the label of a group,
    a prompt and its completions), and how many completions are `shown` of how many `written`.
    """
    sets: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in run.samples:
        sets["training" if row["phase"] == "train" else row.get("set", "eval")].append(row)
    return [_chosen(name, rows, budget // len(sets)) for name, rows in sets.items()]


def evenly(items: Sequence[Item], count: int) -> list[Item]:
    """So many of the items at most: the first, the last, and some evenly between."""
    if count >= len(items):
        return list(items)
    if count < 2:
        return list(items[-1:])
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]


def _chosen(name: str, rows: Sequence[Mapping[str, Any]], budget: int) -> dict[str, Any]:
    units: dict[Unit, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        units[row["step"], _label(row)].append(row)
    longest = min(LONGEST, budget // (2 * max(map(len, units.values()))))
    prompts: dict[str, int] = {}
    shown: list[dict[str, Any]] = []
    for step, label in _fitting(units, budget, longest):
        group = units[step, label]
        prompt = json.dumps([_turn(turn, longest) for turn in _turns(group[0]["prompt"])])
        number = prompts.setdefault(prompt, len(prompts))
        completions = [_completion(row, longest) for row in group]
        shown.append({"step": step, "group": label, "prompt": number, "completions": completions})
    return {
        "name": name,
        "prompts": [json.loads(prompt) for prompt in prompts],
        "units": shown,
        "shown": sum(len(unit["completions"]) for unit in shown),
        "written": len(rows),
    }


def _fitting(
    units: Mapping[Unit, Sequence[Mapping[str, Any]]], budget: int, longest: int
) -> list[Unit]:
    """As many groups as fit: the same ones of every step that is shown."""
    sizes = {unit: sum(_size(row, longest) for row in rows) for unit, rows in units.items()}
    labels: dict[int, list[str]] = defaultdict(list)
    for step, label in sorted(units, key=_order):
        labels[step].append(label)
    count = len(units)
    while True:
        steps = evenly(list(labels), min(STEPS, count))
        each = max(1, count // len(steps))
        chosen = [(step, label) for step in steps for label in evenly(labels[step], each)]
        size = sum(sizes[unit] for unit in chosen)
        if size <= budget or count == 1:
            return chosen
        count = max(1, min(count - 1, count * budget // size))


def _size(row: Mapping[str, Any], longest: int) -> int:
    """About as many bytes as the row takes in a page, where `<` is written as six."""
    turns = [_turn(turn, longest) for turn in _turns(row["prompt"])]
    text = json.dumps([turns, _completion(row, longest)], ensure_ascii=False)
    return len(text.encode("utf-8", "replace")) + 5 * text.count("<")


def _completion(row: Mapping[str, Any], longest: int) -> dict[str, Any]:
    return {
        "text": _cut(row["completion"], longest),
        "reward": row["reward"],
        "scores": {name: x for name, x in (row.get("scores") or {}).items() if x is not None},
        "tokens": row.get("tokens"),
        "truncated": row.get("truncated", False),
        "feedback": _cut(row.get("feedback") or "", longest),
    }


def _turns(prompt: Any) -> Iterator[tuple[str, str]]:
    """The messages of a prompt: who says it, and what; nobody says a plain text."""
    for turn in prompt if isinstance(prompt, list) else [{"content": prompt}]:
        content = turn.get("content") or ""
        yield turn.get("role", ""), content if isinstance(content, str) else json.dumps(content)


def _turn(turn: tuple[str, str], longest: int) -> tuple[str, str]:
    return turn[0], _cut(turn[1], longest)


def _cut(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    return f"{text[:longest]} … [{len(text) - longest:,} more characters]"


def _label(row: Mapping[str, Any]) -> str:
    """Which group of its step a row is of: its number; in old runs, its prompt."""
    return str(row["group"]) if "group" in row else json.dumps(row["prompt"], sort_keys=True)


def _order(unit: Unit) -> tuple[int, int, str]:
    step, label = unit
    return (step, int(label), "") if label.isdecimal() else (step, 0, label)
