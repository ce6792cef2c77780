"""Measure what the time of a step depends on, for the tables of docs/benchmarks.md.

    python benchmarks/scaling.py                  # every part: ten minutes on one core
    python benchmarks/scaling.py tokens hooks

tokens: seconds against the prompts of a step, and so its tokens; group: against the completions of
a prompt; vocabulary: against the tokens that the model knows; hooks: what calling plugins costs;
products: how much of the machine's own matrix products an update reaches; critic: PPO with a critic
of its own beside GRPO.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from figures import Row, keep
from speed.apart import apart, machine
from speed.laps import Laps, together
from speed.shapes import SHAPES, Shape

SMALL = replace(SHAPES["vocabulary"], vocabulary=8192, tokens=32, steps=6)


def within(function: str, shape: Shape, threads: int, *arguments: Any) -> Any:
    """What a function of a shape, of what is made of it, and of threads returns."""
    with tempfile.TemporaryDirectory() as folder:
        made = apart("speed.making:make", shape, Path(folder))
        return apart(function, shape, made, threads, *arguments)


def step(shape: Shape, threads: int, name: str = "grpo") -> Row:
    """What a step takes."""
    laps: Laps = within("speed.ours:train", shape, threads, name, {})
    return together([laps])


def tokens(threads: int) -> Iterator[Row]:
    """Up to 16 times as many prompts."""
    rows: list[Row] = []
    for prompts in (1, 2, 4, 8, 16):
        shape = replace(SMALL, prompts=prompts)
        rows.append({"at": prompts, "completion tokens": shape.rows * shape.tokens})
        rows[-1] |= step(shape, threads)
    off_a_line = from_a_line([row["at"] for row in rows], [row["update"] for row in rows])
    for row, off in zip(rows, off_a_line, strict=True):
        yield row | {"update off a line, %": round(100 * off, 1)}


def group(threads: int) -> Iterator[Row]:
    """More completions of as many prompts."""
    for size in (2, 4, 8, 16):
        yield {"at": size} | step(replace(SMALL, prompt_tokens=128, group=size), threads)


def vocabulary(threads: int) -> Iterator[Row]:
    """A larger head on the same decoder."""
    for size in (8192, 32768, 151936):
        yield {"at": size} | step(replace(SMALL, vocabulary=size), threads)


def hooks(threads: int) -> Iterator[Row]:
    """The share of pluggy and of what stands around it."""
    yield {"at": "mid"} | within("speed.hook_calls:share", SHAPES["mid"], threads)


def products(threads: int) -> Iterator[Row]:
    """The share of what the machine can multiply."""
    for name in ("mid", "long"):
        yield {"at": name} | within("speed.products:share", SHAPES[name], threads)


def critic(threads: int) -> Iterator[Row]:
    """The same number of completions, for PPO each of another prompt."""
    mid = SHAPES["mid"]
    ppo = step(replace(mid, prompts=mid.rows, group=1), threads, "ppo")
    for name, found in (("ppo", ppo), ("grpo", step(mid, threads))):
        shares = {f"{of}, % of PPO's": round(100 * found[of] / ppo[of]) for of in ("s/step", "GiB")}
        yield {"at": name} | found | shares


PARTS = {part.__name__: part for part in (tokens, group, vocabulary, hooks, products, critic)}


def from_a_line(x: list[float], y: list[float]) -> list[float]:
    """How far each y is from the line that fits best, relative to it."""
    xs, ys = torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
    terms = torch.stack([torch.ones_like(xs), xs], -1)
    line = torch.linalg.lstsq(terms / ys[:, None], torch.ones_like(ys)[:, None]).solution
    return (ys / (terms @ line)[:, 0] - 1).tolist()


def main() -> None:
    """Print what each part finds, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--threads", type=int, default=1, help="of the CPU")
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"there is no part '{min(unknown)}'; there are {', '.join(PARTS)}")
    where = {"machine": machine(), "threads": options.threads, "date": time.strftime("%Y-%m-%d")}
    for name in options.parts or PARTS:
        for row in PARTS[name](options.threads):
            print(json.dumps({"part": name, **row}), flush=True)
            keep("scaling", {"part": name, **row, **where}, "part", "machine", "at")


if __name__ == "__main__":
    main()
