"""Measure how close `--plan` comes: what it says of five runs, and the most that they take.

    python benchmarks/plan.py            # five minutes on one core
    python benchmarks/plan.py lora

Every run, and the plan of it, has a process of its own. The figures are kept in docs/figures.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from figures import keep
from speed.apart import apart, machine, peak_memory
from speed.making import make_pairs
from speed.shapes import Shape

from anypo import Observer, compose, run
from anypo.runs.options import make_config
from anypo.runs.plan import plan

STEPS = 3  # the optimizer has its state after the first


@dataclass(frozen=True)
class Case:
    """A run that is planned, and then made."""

    algorithm: str
    shape: Shape
    options: dict[str, Any] = field(default_factory=dict)


CASES = {
    "grpo": Case("grpo", Shape("mid", 16, 64)),
    "ppo, own critic": Case("ppo", Shape("mid", 16, 64, prompts=32)),
    "grpo, lora": Case("grpo", Shape("mid", 16, 64), {"lora_rank": 16}),
    "dpo": Case("dpo", Shape("mid", 16, 128, prompts=16)),
    "grpo, large vocabulary": Case("grpo", Shape("vocabulary", 16, 64)),
}


def options_of(case: Case, folder: Path) -> dict[str, Any]:
    """The options of its run."""
    data, samples = folder / "train.jsonl", case.algorithm != "dpo"
    if not samples:
        make_pairs(data, case.shape.prompt_tokens, case.shape.tokens)
    return {
        "model": str(folder / "model"),
        "data": str(data),
        "reward": [case.shape.reward] * samples,
        "steps": STEPS,
        "prompts_per_step": case.shape.prompts,
        "max_completion_length": case.shape.tokens,
        "warmup_steps": 0,
        **case.options,
    }


def planned(algorithm: str, options: dict[str, Any]) -> float:
    """GiB that the plan says."""
    torch.set_num_threads(1)
    return plan(compose(algorithm), make_config(options), Observer()).most / 2**30


def taken(algorithm: str, options: dict[str, Any]) -> float:
    """GiB that the run takes at most."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        run(algorithm, output=str(Path(folder, "run")), **options)
    return peak_memory()


def main() -> None:
    """Measure the cases that are named, or all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("cases", nargs="*", help=f"of: {', '.join(CASES)}")
    for name in parser.parse_args().cases or CASES:
        case = CASES[name]
        with TemporaryDirectory() as folder:
            apart("speed.making:make", case.shape, Path(folder))
            given = case.algorithm, options_of(case, Path(folder))
            figures = [apart(f"plan:{what}", *given) for what in ("planned", "taken")]
        row: dict[str, Any] = {"run": name}
        row |= {k: round(v, 2) for k, v in zip(("planned", "taken"), figures, strict=True)}
        row["off, %"] = round(100 * (figures[0] / figures[1] - 1))
        row |= {"machine": machine(), "date": date.today().isoformat()}
        print(row, flush=True)
        keep("plan", row, "run", "machine")


if __name__ == "__main__":
    main()
