"""Learn in conversations, and keep what docs/environments.md shows of it.

    python benchmarks/environments.py                     # some minutes each
    python benchmarks/environments.py dapo ppo --in retry --seeds 0 1 2
    python benchmarks/environments.py grpo --sampler vllm

`retry` for 100 steps, `calculator` for 60, all else being what the tasks say.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from itertools import product
from pathlib import Path

from figures import Row, keep
from learning import curve
from speed.apart import machine

from anypo import AnypoError, compose, read_run, run

STEPS = {"retry": 100, "calculator": 60}
ALGORITHMS = ("grpo", "dapo", "gspo", "ppo")


def at_ends(metrics: Sequence[dict[str, float]], name: str) -> list[float]:
    """A metric in the first step and in the last; of what no step has, none."""
    found = [round(step[name], 2) for step in metrics if name in step]
    return [found[0], found[-1]] if found else []


def learned(algorithm: str, environment: str, seed: int, sampler: str, folder: Path) -> Row:
    """What one run learned; turns and calls are means of its first and of its last step."""
    output = str(folder / f"{algorithm}-{environment}-{seed}")
    options = {"environment": environment, "seed": seed, "sampler": sampler}
    run(algorithm, steps=STEPS[environment], output=output, **options)
    metrics = read_run(output).metrics
    scores = [(step, round(score, 3)) for step, score in curve(metrics)]
    ends = {name: at_ends(metrics, f"conversation/{name}") for name in ("turns", "calls")}
    return {
        "algorithm": algorithm,
        **options,
        "score": [scores[0][1], scores[-1][1]],
        "curve": scores,
        **ends,
    }


def main() -> None:
    """Print what is learned, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=ALGORITHMS)
    parser.add_argument("--in", nargs="+", choices=STEPS, default=[*STEPS], dest="environments")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--sampler", default="transformers")
    chosen = parser.parse_args()
    try:
        for name in chosen.names:
            compose(name)
    except AnypoError as error:
        parser.error(str(error))
    for case in product(chosen.names, chosen.environments, chosen.seeds):
        with tempfile.TemporaryDirectory() as folder:
            row = learned(*case, chosen.sampler, Path(folder))
        row |= {"machine": machine(), "date": time.strftime("%Y-%m-%d")}
        print(row, flush=True)
        keep("environments", row, "environment", "algorithm", "sampler", "seed")


if __name__ == "__main__":
    main()
