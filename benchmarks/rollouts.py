"""Compare how fast the samplers are with a larger model, for the table of docs/benchmarks.md.

    python benchmarks/rollouts.py                    # on a GPU, the shape of Qwen2.5-0.5B
    python benchmarks/rollouts.py --shape small --prompts 8 --tokens 64      # fit for a CPU

The model has random weights: only its shape matters. Every run has a process of its own, so that
its memory can be told.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median

from figures import Row, keep
from speed.apart import apart, machine
from speed.laps import Laps
from speed.shapes import MODELS, Made, Shape

SAMPLERS = ("transformers", "vllm")
PHASES = ("rollout", "update", "sync")
THREADS = 1


def speed(name: str, shape: Shape, made: Made, sampler: str) -> Row:
    """How fast a model samples and trains."""
    laps: Laps = apart("speed.ours:train", shape, made, THREADS, "grpo", {"sampler": sampler})
    seconds = {phase: round(median(laps.phase(phase)), 2) for phase in PHASES}
    return {
        "machine": machine(),
        "shape": name,
        "sampler": sampler,
        "tokens/s": round(median(laps.tokens) / median(laps.phase("rollout"))),
        "seconds": seconds,
        "GiB": round(laps.memory, 1),
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    """Print how fast each sampler is, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shape", choices=MODELS, default="0.5b")
    parser.add_argument("--prompts", type=int, default=32, help="per step, 8 completions each")
    parser.add_argument("--tokens", type=int, default=256, help="per completion")
    options = parser.parse_args()
    shape = Shape(options.shape, 140, options.tokens, prompts=options.prompts, steps=4)
    with tempfile.TemporaryDirectory() as folder:
        made = apart("speed.making:make", shape, Path(folder))
        print(f"{made.parameters / 1e6:.0f} million parameters")
        for sampler in SAMPLERS:
            row = speed(options.shape, shape, made, sampler)
            print(row, flush=True)
            keep("rollouts", row, "machine", "shape", "sampler")


if __name__ == "__main__":
    main()
