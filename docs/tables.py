"""The tables of figures: cog blocks of the pages call these functions.

`python benchmarks/pages.py` runs what the figures are of, and writes the pages.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from generate import table

FIGURES = Path(__file__).parent / "figures"


def kept(name: str) -> Any:
    """The figures of a page."""
    return json.loads((FIGURES / f"{name}.json").read_text(encoding="utf-8"))


def learning() -> str:
    """What every algorithm learns on the built-in task, from two seeds."""
    head = ("algorithm", "seed", "score before", "after", "tokens before", "after")
    rows = [
        (f"`{row['algorithm']}`", row["seed"], *_scores(row), *row["tokens"])
        for row in kept("learning")
        if not row["options"] and row["seed"] < 2
    ]
    return table(head, rows)


def learned(algorithm: str) -> list[dict[str, Any]]:
    """What one algorithm learns on the built-in task, seed by seed."""
    return [r for r in kept("learning") if r["algorithm"] == algorithm and not r["options"]]


def samplers() -> str:
    """What GRPO learns with each sampler, from two seeds."""
    rows = []
    for row in kept("learning"):
        if row["algorithm"] == "grpo" and not row["options"].keys() - {"sampler"}:
            sampler = row["options"].get("sampler", "transformers")
            costs = f"{row['rollout']:.3f}", f"{row['sync']:.3f}", f"{row['mismatch']:.0e}"
            rows.append((f"`{row['algorithm']}`", sampler, row["seed"], *_scores(row), *costs))
    costs = "rollout, s", "sync, s", "largest mismatch, nats"
    head = ("algorithm", "sampler", "seed", "score before", "after", *costs)
    return table(head, sorted(rows))


def adapters() -> str:
    """What GRPO learns with adapters."""
    rows = [
        (f"`{row['algorithm']}`", row["options"]["lora_rank"], *_scores(row))
        for row in kept("learning")
        if "lora_rank" in row["options"]
    ]
    return table(("algorithm", "rank", "score before", "after"), rows)


def data() -> str:
    """What reading a large data set costs, beside a small one."""
    columns = ("run", "MB", "rows", "seconds", "peak, MiB")
    return table(columns, ([row[name] for name in columns] for row in kept("data")))


def pipeline(*runs: str) -> str:
    """What the runs of a chain print."""
    rows = [
        (f"`{row['run']}`", "; ".join(f"`{line}`" for line in row["prints"]))
        for row in kept("pipelines")
        if row["run"] in runs
    ]
    return table(("run", "prints"), rows)


def speed() -> str:
    """How fast each sampler is."""
    found, first = kept("rollouts"), ("machine", "shape", "sampler", "tokens/s")
    rows = [
        [row[field] for field in first]
        + [f"{seconds:.2f}" for seconds in row["seconds"].values()]
        + [row["GiB"], row["date"]]
        for row in found
    ]
    return table((*first, *found[0]["seconds"], "GiB at most", "date"), rows)


def turns() -> str:
    """What conversations cost by their turns."""
    head = ("machine", "sampler", "turns", "tokens written", "read", "seconds", "per turn", "date")
    rows = []
    for row in kept("turns"):
        numbers = f"{row['written']:,}", f"{row['read']:,}", row["seconds"]
        each = f"{row['seconds'] / row['turns']:.2f}"
        rows.append((row["machine"], row["sampler"], row["turns"], *numbers, each, row["date"]))
    return table(head, rows)


def against_trl() -> str:
    """How fast GRPO is here and with TRL, in its fastest setting."""
    pairs = ("tokens/s", "s/step", "GiB")
    head = ["shape", "sampler", "ratio", *(f"{name}: anypo, TRL" for name in pairs)]
    head += ["rollout, update, s", "TRL's setting", "machine", "date"]
    rows = []
    for row in _measured("against_trl"):
        ours, theirs = row["anypo"], row["TRL"][row["best"]]
        both = (f"{ours[name]:,}, {theirs[name]:,}" for name in pairs)
        phases = f"{ours['rollout']}, {ours['update']}"
        first = row["shape"], row["sampler"], f"{row['ratio']:.2f}"
        rows.append((*first, *both, phases, row["best"], row["machine"], row["date"]))
    return _table_of_measured(head, rows)


def scaling(part: str, at: str) -> str:
    """What a part of `benchmarks/scaling.py` found, `at` various values of what is so called."""
    rows = [row for row in _measured("scaling") if row.pop("part") == part]
    head = [at if name == "at" else name for name in (rows[0] if rows else ())]
    return _table_of_measured(head, [list(row.values()) for row in rows])


def on_gpu() -> str:
    """Whether what needs a GPU succeeded on one."""
    head = ("machine", "torch", "what", "result", "seconds", "date")
    rows = [[row[field] for field in head] for row in _measured("on_gpu")]
    return _table_of_measured(head, rows)


def _measured(name: str) -> list[dict[str, Any]]:
    """The figures of a page, if there are any yet."""
    return kept(name) if (FIGURES / f"{name}.json").exists() else []


def _table_of_measured(head: Sequence[str], rows: Sequence[Iterable[object]]) -> str:
    return table(head, rows) if rows else "\nNot run yet.\n\n"


def models() -> str:
    """What became of every architecture that `benchmarks/architectures.py` tried."""
    found = kept("architectures")
    by_result: dict[str, dict[str, str]] = {"fine": {}, "refused": {}, "wrong": {}, "not tried": {}}
    for name, outcome in found["models"].items():
        by_result[outcome["result"]][f"`{name}`"] = outcome["why"]
    counts = ", ".join(f"{len(rows)} {result}" for result, rows in by_result.items() if rows)
    fine = ", ".join(by_result.pop("fine"))
    tables = "".join(
        f"**{result.capitalize()}**\n{table(('type', 'why'), rows.items())}"
        for result, rows in by_result.items()
        if rows
    )
    return f"\ntransformers {found['transformers']}: {counts}.\n\n**Fine**\n\n{fine}\n\n{tables}"


def parity() -> str:
    """How far training here and training with TRL are apart."""
    head = ("TRL's trainer", "case", "loss", "gradient", "weights", "why they differ")
    rows = []
    for row in kept("parity")["training"]:
        trainer, _, case = row["case"].partition(": ")
        figures = (f"{row[part]:.0e}" for part in ("loss", "gradient", "weights"))
        rows.append((trainer, case, *figures, row["why"]))
    return table(head, rows)


def templates() -> str:
    """In how many of a hundred conversations tokens here and there are the same."""
    aspects = ("prompt", "split", "learnt", "scored")
    rows = [
        (
            f"`{row['template']}`",
            *(str(row[a]) for a in aspects),
            "; ".join(dict.fromkeys(row["why"].values())),
        )
        for row in kept("parity")["templates"]
    ]
    return table(("template", *aspects, "why they differ"), rows)


def _scores(row: dict[str, Any]) -> tuple[str, str]:
    before, after = row["score"]
    return f"{before:.3f}", f"{after:.3f}"


def processes() -> str:
    """What runs learn in one process and in two, also where one server samples for them."""
    names = ("algorithm", "seed", "sharding", "sampler", "processes", "before", "after")
    found = (row for row in kept("processes") if row["part"] in ("learning", "servers"))
    rows = [[row[name] for name in names] for row in found]
    head = ("algorithm", "seed", "sharding", "sampler", "processes", "score before", "after")
    return table(head, [(f"`{name}`", *others) for name, *others in rows])


def taught(part: str) -> str:
    """What is learnt from a teacher, or from words."""
    rows = [row for row in _measured("teachers") if row.pop("part") == part]
    return _table_of_measured(list(rows[0] if rows else ()), [list(row.values()) for row in rows])


def conversations() -> str:
    """What is learnt in conversations."""
    which = ("environment", "algorithm", "sampler")
    head = (*which, "seed", "score before", "after", "turns", "calls")
    rows = []
    for row in _measured("environments"):
        ends = (", then ".join(map(str, row[name])) for name in ("turns", "calls"))
        names = (f"`{row[name]}`" for name in which)
        rows.append((*names, row["seed"], *_scores(row), *ends))
    return _table_of_measured(head, rows)


def process_costs() -> str:
    """The CPU time of a step."""
    rows = [row for row in kept("processes") if row["part"] == "cost"]
    phases = ("rollout, s", "update, s")
    names = ("processes", "CPU, s/step", "more, %", *phases, "rounds", "machine", "date")
    return table(names, [[row[name] for name in names] for row in rows])


def process_loading() -> str:
    """The memory that processes take while they load a model."""
    rows = [row for row in kept("processes") if row["part"] == "loading"]
    names = ("copy", "model, GiB", "first, GiB", "others, GiB", "machine", "date")
    return table(names, [[row[name] for name in names] for row in rows])


def plan() -> str:
    """How close the memory that is planned comes to that which is taken."""
    rows = _measured("plan")
    return _table_of_measured(list(rows[0] if rows else ()), [list(row.values()) for row in rows])


def reliability() -> str:
    """How many kills there were, and what became of the runs."""
    head = ("processes", "kills", "while saving", "of them SIGTERM", "runs", "ended the same")
    fields = ("processes", "kills", "in a save", "SIGTERM", "runs", "equal", "machine", "date")
    rows = [[row[field] for field in fields] for row in kept("reliability")]
    return table((*head, "machine", "date"), rows)
