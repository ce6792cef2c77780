"""What a step takes, of time and of memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from speed import ours
from speed.apart import apart
from speed.laps import WARM, together
from speed.making import make_model, make_prompts
from speed.shapes import HEADS, Made, Shape

from anypo import read_run, run

VOCABULARY = 8192
ROWS, TOKENS, STEPS = 8, 32, WARM + 3
TURN = 16  # tokens of a reply


def of_sizes(
    seed: int, algorithm: str, sizes: Sequence[Sequence[int]], *, quick: bool = False
) -> Any:
    """The GiB and the seconds of a step, by millions of parameters, each in its own process.

    Args:
        seed: Of the run.
        algorithm: By its name.
        sizes: Hidden size and layers of each model.
        quick: The smallest one alone.
    """
    found = [apart("claimed.costs:step", seed, algorithm, s) for s in sizes[: 1 if quick else None]]
    return {name: [(row["millions"], row[name]) for row in found] for name in ("GiB", "s/step")}


def step(seed: int, algorithm: str, size: Sequence[int]) -> dict[str, float]:
    """A step of as many completions: of one prompt, or each of another for who has a critic."""
    hidden, layers = size
    sizes = {"hidden_size": hidden, "intermediate_size": 3 * hidden, "num_hidden_layers": layers}
    has_critic = algorithm == "ppo"
    shape = Shape("", 16, TOKENS, *((ROWS, 1) if has_critic else (1, ROWS)), steps=STEPS)
    with TemporaryDirectory() as home:
        folder, data = Path(home, "model"), Path(home, "train.jsonl")
        parameters = make_model(folder, {"vocab_size": VOCABULARY, **sizes, **HEADS})
        make_prompts(data, shape.prompt_tokens)
        made = Made(str(folder), str(data), parameters)
        laps = ours.train(shape, made, 1, algorithm, {"seed": seed})
    return together([laps]) | {"millions": round(parameters / 1e6, 1)}


def of_turns(seed: int, turns: int, *, quick: bool = False) -> Any:
    """The seconds of a step for each token that the policy writes, in conversations of turns."""
    with TemporaryDirectory() as home:
        folder = run(
            "grpo",
            seed=seed,
            output=str(Path(home, "run")),
            environment="claimed.environments:Endless",
            task="addition",
            max_turns=turns,
            max_completion_length=TURN,
            steps=2 if quick else 8,
            prompts_per_step=4,
            eval_every=1000,
        )
        steps = [step for step in read_run(folder).metrics if "tokens_per_second" in step]
    return {"s/token": [(turns, median(1 / step["tokens_per_second"] for step in steps))]}
