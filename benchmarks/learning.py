"""Run algorithms on the built-in task, and keep what each learned for the tables of the pages.

    python benchmarks/learning.py --seeds 0 1 --jobs 2       # all of them: about a minute each
    python benchmarks/learning.py --seeds 0 1 --missing --shard 1/3   # a third of what is not kept
    python benchmarks/learning.py dapo gspo
    python benchmarks/learning.py grpo --set lora_rank=8

A modifier is put on top of grpo. What needs a teacher has one that grpo has trained before.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

from figures import Row, keep, kept

from anypo import Algorithm, compose, run
from anypo.errors import PluginError
from anypo.hooks import registry

Run = tuple[str, int]  # the name of an algorithm, and a seed


@cache
def whole(name: str) -> Algorithm:
    """The algorithm of a name, on top of grpo if it is a modifier."""
    try:
        return compose(name)
    except PluginError as error:
        if "no whole algorithm" not in str(error):
            raise
        return compose("grpo", name)


def curve(steps: Sequence[dict[str, float]]) -> list[tuple[float, float]]:
    """The held-out scores of a run by step, or how often it ranked held-out pairs right."""
    for headline in ("eval/score", "eval/rewards/accuracies"):
        if found := [(step["step"], step[headline]) for step in steps if headline in step]:
            return found
    raise ValueError("the run was not evaluated")


def evaluations(steps: Sequence[dict[str, float]]) -> list[float]:
    """The scores of the curve alone."""
    return [score for _, score in curve(steps)]


def usual(steps: Sequence[dict[str, float]], metric: str) -> float:
    """The median of a metric."""
    return round(median(step[metric] for step in steps if metric in step), 3)


def learned(name: str, seed: int, options: dict[str, Any]) -> Row:
    """What one run learned; tokens are the mean length in its first and in its last step."""
    algorithm = whole(name)
    with tempfile.TemporaryDirectory() as folder:
        taught = teacher(algorithm, options, Path(folder, "teacher"))
        start = time.perf_counter()
        output = run(algorithm, seed=seed, output=str(Path(folder, "run")), **options, **taught)
        lines = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [json.loads(line) for line in lines]
    scores = [(step, round(score, 3)) for step, score in curve(steps)]
    lengths = [step["length/mean"] for step in steps if "length/mean" in step]
    return {
        "algorithm": algorithm.name,
        "options": options,
        "seed": seed,
        "score": [scores[0][1], scores[-1][1]],
        "curve": scores,
        "tokens": [round(lengths[0], 1), round(lengths[-1], 1)],
        "mismatch": max(step.get("mismatch/max", 0.0) for step in steps),
        "rollout": usual(steps, "seconds/rollout"),
        "sync": usual(steps, "seconds/sync"),
        "seconds": round(time.perf_counter() - start),
    }


def teacher(algorithm: Algorithm, options: dict[str, Any], folder: Path) -> dict[str, str]:
    """The option that names a teacher, where the algorithm needs one and says none itself."""
    if "teacher" not in algorithm.requires or "teacher" in {**algorithm.options, **options}:
        return {}
    return {"teacher": str(run("grpo", output=str(folder)))}


def learn(runs: Sequence[Run], options: dict[str, Any], jobs: int) -> Iterator[Row | str]:
    """What each run learned, every one in a process of its own, as soon as it is known.

    Of one that failed, a sentence that says so: the others go on.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as pool:
        asked = {pool.submit(learned, *run, options): run for run in runs}
        for answer in as_completed(asked):
            error = answer.exception()
            yield f"{asked[answer]}: {error!r}" if error else answer.result()


def missing(runs: Sequence[Run], options: dict[str, Any]) -> list[Run]:
    """Those of which no row is kept."""
    rows = [row for row in kept("learning") if row["options"] == options]
    there = {(row["algorithm"], row["seed"]) for row in rows}
    return [(name, seed) for name, seed in runs if (whole(name).name, seed) not in there]


def shard(text: str) -> tuple[int, int]:
    """What `2/3` says: the second of three."""
    number, of = map(int, text.split("/"))
    if not 1 <= number <= of:
        raise ValueError(text)
    return number, of


def built_in() -> list[str]:
    """The names of all algorithms that come with anypo."""
    return [entry.name for entry in registry.entries() if entry.distribution == "anypo"]


def on_built_in_task() -> list[str]:
    """Those that learn from what the rows of the built-in task hold."""
    absent = {"privileged_context"}
    return [name for name in built_in() if absent.isdisjoint(whole(name).inputs.wanted)]


def main() -> None:
    """Print what is learned, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="of algorithms; else all")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--set", action="append", default=[], help="an option of the run, as TOML")
    parser.add_argument("--jobs", type=int, default=1, help="runs beside each other")
    parser.add_argument("--missing", action="store_true", help="only runs that no row is kept of")
    parser.add_argument("--shard", type=shard, default=(1, 1), help="1/3: the first of three parts")
    chosen = parser.parse_args()
    options = tomllib.loads("\n".join(chosen.set))
    names = chosen.names or on_built_in_task()
    runs = list(product(names, chosen.seeds))[chosen.shard[0] - 1 :: chosen.shard[1]]
    failed = 0
    for row in learn(missing(runs, options) if chosen.missing else runs, options, chosen.jobs):
        print(row if isinstance(row, str) else json.dumps(row), flush=True)
        if isinstance(row, str):
            failed += 1
        else:
            keep("learning", row, "algorithm", "options", "seed")
    raise SystemExit(failed > 0)


if __name__ == "__main__":
    main()
