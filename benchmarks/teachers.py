"""Learn from a teacher, and from words, and keep what docs/teachers.md shows of it.

    python benchmarks/teachers.py               # both parts: a quarter of an hour
    python benchmarks/teachers.py distilled

distilled: 50 steps on the built-in task by the log-probs of a model that `grpo` has trained; no
reward. words: `sdpo` beside `grpo` with as many completions, on sums of which is said in words what
is wrong (`--environment retry`), in one turn.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from figures import Row, keep
from learning import evaluations
from speed.apart import machine

from anypo import read_run, run

STEPS = 50
DISTILLED: dict[str, dict[str, Any]] = {
    "opd": {"learning_rate": 5e-4, "epochs": 2, "minibatches": 4, "prompts_per_step": 64},
    "minillm": {"learning_rate": 5e-4, "epochs": 2, "minibatches": 4, "prompts_per_step": 64},
    "gkd": {"learning_rate": 1e-3, "minibatches": 4, "prompts_per_step": 64},
}
WORDS: dict[str, dict[str, Any]] = {
    "grpo": {},
    "sdpo": {"learning_rate": 1e-4},
    "sdpo, policy": {"learning_rate": 1e-4, "teacher": "policy"},
}


def scores(algorithm: str, seed: int, output: Path, **options: Any) -> Row:
    """Before and after."""
    run(algorithm, seed=seed, output=str(output), **options)
    found = evaluations(read_run(output).metrics)
    return {"seed": seed, "before": round(found[0], 3), "after": round(found[-1], 3)}


def distilled(folder: Path) -> Iterator[Row]:
    """What is learnt from a model that was trained before."""
    teacher = folder / "teacher"
    known = scores("grpo", 0, teacher)["after"]
    for name, options in DISTILLED.items():
        for seed in (0, 1):
            given = {"teacher": str(teacher), "steps": STEPS, **options}
            row = scores(name, seed, folder / f"{name}-{seed}", **given)
            yield {"algorithm": name, **row, "teacher": known}


def words(folder: Path) -> Iterator[Row]:
    """What is learnt from words, and from a number alone."""
    for name, options in WORDS.items():
        for seed in (0, 1, 2):
            given = {"environment": "retry", "max_turns": 1, "steps": STEPS, **options}
            row = scores(name.partition(",")[0], seed, folder / f"{name}-{seed}", **given)
            yield {"algorithm": name, **row}


PARTS = {"distilled": distilled, "words": words}


def main() -> None:
    """Print the scores, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[], help="else all")
    for part in parser.parse_args().parts or PARTS:
        with tempfile.TemporaryDirectory() as folder:
            for row in PARTS[part](Path(folder)):
                row |= {"part": part, "machine": machine(), "date": time.strftime("%Y-%m-%d")}
                print(row, flush=True)
                keep("teachers", row, "part", "algorithm", "seed")


if __name__ == "__main__":
    main()
