"""Run algorithms in one process and in two, and keep what docs/scaling.md shows of it.

    python benchmarks/processes.py                     # all parts: twenty minutes on two cores
    python benchmarks/processes.py cost --rounds 3

learning: the held-out score before and after; servers: the same, sampled by one vLLM server, where
vLLM is installed; cost: the seconds of CPU time that a step takes, of all processes together, at
the shape `mid` of docs/benchmarks.md. The start is left out: of two runs of different lengths, the
difference counts. loading: the memory that two processes take while they load a model whose weights
they share.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any
from urllib.request import urlopen

from figures import Row, keep
from learning import evaluations
from speed.apart import apart, machine
from speed.loading import loading
from speed.shapes import SHAPES

from anypo import read_run

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
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
SHORT, LONG = 2, 8  # steps
PHASES = ("rollout", "update")
ANYPO = [sys.executable, "-m", "anypo_cli"]
HERE = Path(__file__).parent  # where rewards of shapes are found


def run(algorithm: str, output: Path, **options: Any) -> float:
    """The seconds of CPU time that the processes of a run took."""
    given = [(f"--{name.replace('_', '-')}", str(value)) for name, value in options.items()]
    command = [*ANYPO, "run", algorithm, *(word for pair in given for word in pair)]
    before = os.times()
    done = subprocess.run(
        [*command, "--output", str(output)],
        env=ENVIRONMENT,
        cwd=HERE,
        capture_output=True,
        text=True,
    )
    after = os.times()
    if done.returncode:
        raise SystemExit(f"failed: {' '.join(command)}\n{done.stderr}")
    spent = after.children_user + after.children_system
    return spent - before.children_user - before.children_system


def learned(algorithm: str, seed: int, processes: int, **options: Any) -> Row:
    """The scores of one run before and after."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "run")
        run(algorithm, output, seed=seed, processes=processes, **options)
        scores = evaluations(read_run(output).metrics)
    return {
        "algorithm": algorithm,
        "seed": seed,
        "sharding": options.get("sharding", "none"),
        "sampler": options.get("sampler", "transformers"),
        "processes": processes,
        "before": round(scores[0], 3),
        "after": round(scores[-1], 3),
    }


def learning(_: int) -> Iterator[Row]:
    """The scores before and after."""
    for algorithm, seed, options in LEARNING:
        for processes in (2,) if options else NUMBERS:
            yield learned(algorithm, seed, processes, **options)


def served(_: int) -> Iterator[Row]:
    """The scores before and after where one server samples for two processes."""
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as url:
        for sharding in ("none", "fsdp"):
            yield learned("grpo", 0, 2, sharding=sharding, sampler="vllm", vllm_url=url)


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """The address of a server of a model like that of the built-in task."""
    run("grpo", folder / "run", steps=1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [*ANYPO, "serve", str(folder / "run"), "--port", str(port), "--max-length", "512"]
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, env=ENVIRONMENT, stdout=log, stderr=log, start_new_session=True
        )
    try:
        while not answers(url):
            if process.poll() is not None:
                raise SystemExit(f"failed: {' '.join(command)}\n{(folder / 'log').read_text()}")
            time.sleep(1)
        yield url
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    """Whether a server is there."""
    try:
        return bool(urlopen(f"{url}/health").status == 200)
    except OSError:
        return False


def cost(rounds: int) -> Iterator[Row]:
    """The CPU time of a step, in turns, and that of its phases: seconds times processes."""
    shape, spent = SHAPES["mid"], defaultdict[int, list[float]](list)
    phases = defaultdict[tuple[int, str], list[float]](list)
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
        for turn, processes in product(range(rounds), NUMBERS):
            options["processes"] = processes
            short, long = (
                run("grpo", Path(folder, f"{turn}-{processes}-{steps}"), **options, steps=steps)
                for steps in (SHORT, LONG)
            )
            spent[processes].append((long - short) / (LONG - SHORT))
            for row in read_run(Path(folder, f"{turn}-{processes}-{LONG}")).metrics[1:]:
                for phase in PHASES:
                    phases[processes, phase].append(processes * row[f"seconds/{phase}"])
    for processes, each in spent.items():
        seconds = median(each)
        more = 100 * (seconds / median(spent[NUMBERS[0]]) - 1)
        row = {"processes": processes, "CPU, s/step": round(seconds, 2), "more, %": round(more, 1)}
        row |= {f"{phase}, s": round(median(phases[processes, phase]), 2) for phase in PHASES}
        yield {**row, "rounds": rounds}


def memory(_: int) -> Iterator[Row]:
    """What loading takes, where the first process alone keeps a copy and where all sample."""
    for all_sample in (False, True):
        yield {
            "copy": "every process" if all_sample else "the first",
            **loading(all_sample=all_sample),
        }


PARTS = {"learning": learning, "servers": served, "cost": cost, "loading": memory}


def main() -> None:
    """Print the figures, and keep them."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    usual = [part for part in PARTS if part != "servers" or find_spec("vllm")]
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[], help="else all")
    parser.add_argument("--rounds", type=int, default=2, help="of the costs")
    options = parser.parse_args()
    for part in options.parts or usual:
        for row in PARTS[part](options.rounds):
            row |= {"part": part, "machine": machine(), "date": time.strftime("%Y-%m-%d")}
            print(row, flush=True)
            names = ("algorithm", "seed", "sharding", "sampler", "processes", "copy")
            keep("processes", row, "part", *(name for name in names if name in row))


if __name__ == "__main__":
    main()
