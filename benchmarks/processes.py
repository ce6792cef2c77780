"""Run algorithms in one process and in two, and keep what docs/scaling.md shows of it.

    python benchmarks/processes.py                     # all parts: twenty minutes on two cores
    python benchmarks/processes.py cost --rounds 3

learning: the held-out score before and after; cost: the seconds of CPU time that a step takes, of
all processes together, at the shape `mid` of docs/benchmarks.md. The start is left out: of two runs
of different lengths, the difference counts. loading: the memory that two processes take while they
load a model whose weights they share.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from figures import Row, keep
from speed.apart import apart, machine
from speed.loading import loading
from speed.shapes import SHAPES

LEARNING: list[tuple[str, int, dict[str, Any]]] = [  # algorithm, seed, options
    *(("grpo", seed, {}) for seed in range(3)),
    ("dapo", 0, {}),
    ("ppo", 0, {}),
    ("dpo", 0, {}),
    ("grpo+gfpo", 0, {}),
    ("grpo", 0, {"sharding": "fsdp"}),
    ("ppo", 0, {"sharding": "fsdp"}),
]
NUMBERS = (1, 2)  # of processes
SHORT, LONG = 2, 8  # steps


def run(algorithm: str, **options: Any) -> tuple[str, float]:
    """What a run prints, and the seconds of CPU time that its processes took."""
    given = [(f"--{name.replace('_', '-')}", str(value)) for name, value in options.items()]
    command = [sys.executable, "-m", "anypo_cli", "run", algorithm]
    with tempfile.TemporaryDirectory() as folder:
        command += [*(word for pair in given for word in pair), "--output", f"{folder}/run"]
        before = os.times()
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            command, env=environment, cwd=Path(__file__).parent, capture_output=True, text=True
        )
        after = os.times()
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(command)}\n{done.stderr}")
    spent = after.children_user + after.children_system
    return done.stdout, spent - before.children_user - before.children_system


def learning(_: int) -> Iterator[Row]:
    """The scores before and after."""
    for algorithm, seed, options in LEARNING:
        for processes in (2,) if options else NUMBERS:
            told, _ = run(algorithm, seed=seed, processes=processes, **options)
            before, after = re.findall(r"^eval score (\S+) -> (\S+)$", told, re.M)[-1]
            row = {"algorithm": algorithm, "seed": seed, "sharding": "none", **options}
            yield {**row, "processes": processes, "before": before, "after": after}


def cost(rounds: int) -> Iterator[Row]:
    """The CPU time of a step, in turns."""
    shape, spent = SHAPES["mid"], defaultdict[int, list[float]](list)
    with tempfile.TemporaryDirectory() as folder:
        made = apart("speed.making:make", shape, Path(folder))
        options = {
            "model": made.model,
            "data": made.data,
            "reward": shape.reward,
            "prompts_per_step": shape.prompts,
            "group_size": shape.group,
            "max_completion_length": shape.tokens,
            "kl_coef": 0.0,
            "warmup_steps": 0,
        }
        for _ in range(rounds):
            for processes in NUMBERS:
                short, long = (
                    run("grpo", **options, processes=processes, steps=steps)[1]
                    for steps in (SHORT, LONG)
                )
                spent[processes].append((long - short) / (LONG - SHORT))
    for processes, each in spent.items():
        seconds = median(each)
        more = 100 * (seconds / median(spent[NUMBERS[0]]) - 1)
        row = {"processes": processes, "CPU, s/step": round(seconds, 2), "more, %": round(more, 1)}
        yield {**row, "rounds": rounds}


def memory(_: int) -> Iterator[Row]:
    """What loading takes, where the first process alone keeps a copy and where all sample."""
    for all_sample in (False, True):
        yield {
            "copy": "every process" if all_sample else "the first",
            **loading(all_sample=all_sample),
        }


PARTS = {"learning": learning, "cost": cost, "loading": memory}


def main() -> None:
    """Print the figures, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[*PARTS])
    parser.add_argument("--rounds", type=int, default=2, help="of the costs")
    options = parser.parse_args()
    for part in options.parts:
        for row in PARTS[part](options.rounds):
            row |= {"part": part, "machine": machine(), "date": time.strftime("%Y-%m-%d")}
            print(row, flush=True)
            names = ("algorithm", "seed", "sharding", "processes", "copy")
            keep("processes", row, "part", *(name for name in names if name in row))


if __name__ == "__main__":
    main()
