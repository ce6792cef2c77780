"""Run every algorithm on the built-in task and print what it learned, as a table for the docs.

    python benchmarks/learning.py --seeds 0 1        # all of them: about a minute each
    python benchmarks/learning.py dapo gspo

A modifier is put on top of grpo.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from anypo import Algorithm, compose, run
from anypo.errors import PluginError
from anypo.hooks import registry

HEADER = "| algorithm | seed | score before | after | tokens before | after | seconds |"


def whole(name: str) -> Algorithm:
    """The algorithm of a name, on top of grpo if it is a modifier."""
    try:
        return compose(name)
    except PluginError as error:
        if "no whole algorithm" not in str(error):
            raise
        return compose("grpo", name)


def evaluations(steps: list[dict[str, float]]) -> list[float]:
    """The held-out scores of a run, or how often it ranked held-out pairs right."""
    for headline in ("eval/score", "eval/rewards/accuracies"):
        if found := [step[headline] for step in steps if headline in step]:
            return found
    raise ValueError("the run was not evaluated")


def row(algorithm: Algorithm, seed: int) -> str:
    """One run, as a line of the table."""
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        output = run(algorithm, seed=seed, output=str(Path(folder, "run")))
        lines = (output / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    steps = [json.loads(line) for line in lines]
    scores = evaluations(steps)
    lengths = [step["length/mean"] for step in steps if "length/mean" in step]
    seconds = time.perf_counter() - start
    figures = f"{scores[0]:.3f} | {scores[-1]:.3f} | {lengths[0]:.1f} | {lengths[-1]:.1f}"
    return f"| `{algorithm.name}` | {seed} | {figures} | {seconds:.0f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    built_in = [entry.name for entry in registry.entries() if entry.distribution == "anypo"]
    parser.add_argument("names", nargs="*", default=built_in)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    print(HEADER, "|---|---|---|---|---|---|---|", sep="\n")
    for name in options.names:
        for seed in options.seeds:
            print(row(whole(name), seed), flush=True)


if __name__ == "__main__":
    main()
