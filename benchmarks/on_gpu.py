"""Run all that only a GPU can show, and keep what came out in docs/figures/on_gpu.json.

    pip install -e '.[trl,vllm,docs]'
    python benchmarks/on_gpu.py          # an hour or so

The benchmarks keep their own figures besides, and the tables of the pages are written anew.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import torch
from figures import Row, keep
from pages import write
from speed.apart import machine

ROOT = Path(__file__).parents[1]
TESTS = ["-m", "pytest", "-q", "-n", "0", "-m"]
COMMANDS = {
    "tests on the GPU, with CUDA graphs, eager and with sleep": [*TESTS, "cuda"],
    "tests of vLLM": [*TESTS, "vllm"],
    "against TRL": ["benchmarks/against_trl.py", "--settings", "plain", "checkpointed"],
    "samplers": ["benchmarks/rollouts.py"],
    "scaling": ["benchmarks/scaling.py"],
}
LINES = 60  # of what a command says at the end


def outcome(what: str, command: list[str]) -> Row:
    """Whether a command succeeds, and what it says."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    return {
        "machine": machine(),
        "torch": torch.__version__,
        "what": what,
        "result": "failed" if done.returncode else "passed",
        "seconds": round(time.perf_counter() - start),
        "date": time.strftime("%Y-%m-%d"),
        "says": done.stdout.strip().splitlines()[-LINES:],
    }


def main() -> None:
    """Print whether each command succeeds, and fail if one does not."""
    if not torch.cuda.is_available():
        raise SystemExit("there is no GPU: nothing was run")
    rows = []
    for what, command in COMMANDS.items():
        rows.append(outcome(what, command))
        print(f"{what}: {rows[-1]['result']}, {rows[-1]['says'][-1:]}", flush=True)
        keep("on_gpu", rows[-1], "machine", "what")
    write()
    raise SystemExit(any(row["result"] == "failed" for row in rows))


if __name__ == "__main__":
    main()
