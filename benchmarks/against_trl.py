"""Train with anypo and with TRL in turns, and keep who is how fast for docs/benchmarks.md.

    pip install -c constraints.txt -e '.[trl]'
    python benchmarks/against_trl.py                 # every shape: half an hour on one core
    python benchmarks/against_trl.py mid long --rounds 1

Models, prompts, completions per prompt, limits and rewards are the same; a round is a fresh process
of each side. Of TRL the setting counts that is the fastest of those tried.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from figures import Row, keep
from speed.apart import apart, machine
from speed.laps import Laps, together
from speed.shapes import GPU_SHAPES, SHAPES, Shape

SETTINGS: dict[str, dict[str, Any]] = {  # of TRL
    "plain": {},
    "checkpointed": {"gradient_checkpointing": True},
    "two parts": {"gradient_accumulation_steps": 2},
}
SAMPLERS: dict[str, dict[str, Any]] = {  # what TRL is told
    "transformers": {},
    "vllm": {"use_vllm": True, "vllm_mode": "colocate", "vllm_gpu_memory_utilization": 0.3},
}


@dataclass(frozen=True)
class Race:
    """Two libraries at one shape."""

    name: str
    shape: Shape
    sampler: str
    settings: Sequence[str]  # of TRL, names of `SETTINGS`
    rounds: int
    threads: int

    def run(self) -> Row:
        """Both sides in turns, and what came out."""
        laps: dict[str, list[Laps]] = defaultdict(list)
        with tempfile.TemporaryDirectory() as folder:
            made = apart("speed.making:make", self.shape, Path(folder))
            given = self.shape, made, self.threads
            for _ in range(self.rounds):
                laps["anypo"].append(
                    apart("speed.ours:train", *given, "grpo", {"sampler": self.sampler})
                )
                for name in self.settings:
                    setting = SAMPLERS[self.sampler] | SETTINGS[name]
                    laps[name].append(apart("speed.theirs:train", *given, setting))
        return self.row(laps)

    def row(self, laps: dict[str, list[Laps]]) -> Row:
        """The figures of both sides, and how many times as fast the one is."""
        theirs = {name: together(laps[name]) for name in self.settings}
        best = max(theirs, key=lambda name: theirs[name]["tokens/s"])
        ours = together(laps["anypo"])
        return {
            "machine": machine(),
            "threads": self.threads,
            "shape": self.name,
            "sampler": self.sampler,
            "ratio": round(ours["tokens/s"] / theirs[best]["tokens/s"], 2),
            "anypo": ours,
            "TRL": theirs,
            "best": best,
            "date": time.strftime("%Y-%m-%d"),
        }


def told(row: Row) -> str:
    """A race in a line."""
    ours, theirs = row["anypo"], row["TRL"][row["best"]]
    figures = (f"{ours[name]:,} against {theirs[name]:,} {name}" for name in theirs)
    return f"{row['shape']}, {row['sampler']}: {row['ratio']} times TRL; {', '.join(figures)}"


def main() -> None:
    """Print who is how fast, and keep it."""
    on_gpu = torch.cuda.is_available()
    shapes = SHAPES | (GPU_SHAPES if on_gpu else {})
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("shapes", nargs="*", metavar="SHAPE", help=", ".join(shapes))
    parser.add_argument("--rounds", type=int, default=2, help="processes of each side")
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=["plain"])
    options = parser.parse_args()
    if unknown := set(options.shapes) - shapes.keys():
        parser.error(f"there is no shape '{min(unknown)}' here; there are {', '.join(shapes)}")
    if find_spec("trl") is None:
        raise SystemExit("nothing to compare with: TRL is not installed; pip install 'anypo[trl]'")
    how = options.settings, options.rounds, options.threads
    for name in options.shapes or shapes:
        with_vllm = name in GPU_SHAPES and find_spec("vllm") is not None
        for sampler in SAMPLERS if with_vllm else ["transformers"]:
            row = Race(name, shapes[name], sampler, *how).run()
            print(told(row), flush=True)
            keep("against_trl", row, "machine", "shape", "sampler")


if __name__ == "__main__":
    main()
