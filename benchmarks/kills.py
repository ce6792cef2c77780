"""Kill runs at random moments, have them go on, and compare their ends with one left in peace.

    python benchmarks/kills.py                      # 100 kills: some twenty minutes on two cores
    python benchmarks/kills.py --kills 12 --processes 2

A tiny run saves a checkpoint after every step, so many kills fall into the writing of one. A fifth
of the signals are SIGTERM, to the process that was started; the others SIGKILL, to all at once.
After each, whatever stands under a checkpoint's or the model's name has to be whole and to load.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from figures import keep
from speed.apart import machine
from transformers import AutoModelForCausalLM
from transformers.utils.logging import disable_progress_bar

from anypo.support.saving import manifest_of

ANYPO = [sys.executable, "-c", "import sys; from anypo_cli import main; sys.exit(main())"]
STEPS = 150  # of a run
OPTIONS = (
    "grpo --group-size 2 --prompts-per-step 2 --minibatches 2 --max-completion-length 12 "
    f"--steps {STEPS} --save-every 1 --eval-every 50 --learning-rate 1e-3"
).split()
PEACE = 3.0  # seconds of training until a kill, at most
STARTING = 0.15  # share of the kills before the first step
TERMINATED = 128 + signal.SIGTERM


class Killed:
    """A run that is killed again and again until it is finished."""

    def __init__(self, folder: Path, processes: list[str], chance: random.Random) -> None:
        self.folder, self.processes, self.chance = folder, processes, chance
        self.counts: Counter[str] = Counter()

    def live(self) -> bool:
        """Begin or go on, until the end or a kill; whether it was the end."""
        begun = (self.folder / "config.toml").exists()
        told = ["--resume", str(self.folder)] if begun else [*OPTIONS, "--output", str(self.folder)]
        log = self.folder.with_suffix(".log").open("a")
        command = [*ANYPO, "run", *told, *self.processes]
        with log, subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True) as run:
            if self._wait(run):
                status = run.wait()
                if status:
                    raise SystemExit(f"failed with status {status}: see {log.name}")
                return True
            self._kill(run)
        return False

    def check(self) -> None:
        """Refuse what is not whole, or does not load."""
        found = [*self.folder.glob("checkpoints/step-*"), *self.folder.glob("model")]
        for model in found:
            manifest_of(model)
            AutoModelForCausalLM.from_pretrained(model)
        self.counts["in a save"] += any(self.folder.glob("**/.tmp-*"))

    def _wait(self, run: subprocess.Popen[bytes]) -> bool:
        """Wait for the moment of a kill; whether the end comes before."""
        starting = self.chance.random() < STARTING
        size, lines = self._size(), self.chance.uniform(0, PEACE)
        end = time.monotonic() + self.chance.uniform(0, 8.0) if starting else None
        while run.poll() is None:
            if end is None and self._size() != size:
                end = time.monotonic() + lines
            if end is not None and time.monotonic() > end:
                return False
            time.sleep(0.005)
        return True

    def _kill(self, run: subprocess.Popen[bytes]) -> None:
        self.counts["kills"] += 1
        if self.chance.random() < 0.2:
            trained = self._size()
            run.terminate()
            self.counts["SIGTERM"] += 1
            if run.wait() not in (0, TERMINATED, -signal.SIGTERM):
                raise SystemExit(f"status {run.returncode} after SIGTERM, size {trained}")
            self.counts["saved by SIGTERM"] += run.returncode == TERMINATED
        for process in _of_session(run.pid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        run.wait()

    def _size(self) -> int:
        file = self.folder / "metrics.jsonl"
        return file.stat().st_size if file.exists() else 0


def _of_session(leader: int) -> list[int]:
    """The processes of a session, the one that leads it first."""
    told = subprocess.run(["ps", "-o", "pid=", "-s", str(leader)], capture_output=True, text=True)
    return sorted(map(int, told.stdout.split()), key=lambda pid: pid != leader)


def end_of(folder: Path) -> tuple[Any, ...]:
    """What a finished run has to be the same in: metrics without timings, samples, weights."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    timings = ("seconds/", "tokens_per_second")
    metrics = [{k: v for k, v in row.items() if not k.startswith(timings)} for row in rows]
    samples = (folder / "samples.jsonl").read_bytes()
    weights = (folder / "model" / "model.safetensors").read_bytes()
    return metrics, samples, hashlib.sha256(weights).hexdigest()


def main() -> None:
    """Kill until there were enough, and keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    disable_progress_bar()
    processes = ["--processes", str(given.processes)] if given.processes > 1 else []
    chance, counts, start = random.Random(given.seed), Counter[str](), time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="kills-"))
    in_peace = home / "in-peace"
    subprocess.run(
        [*ANYPO, "run", *OPTIONS, "--output", str(in_peace), *processes],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while counts["kills"] < given.kills:
        run = Killed(home / f"run-{counts['runs']}", processes, chance)
        while not run.live():
            run.check()
            print(dict(counts + run.counts), flush=True)
        run.check()
        counts += run.counts + Counter(runs=1, equal=int(end_of(run.folder) == end_of(in_peace)))
        print(dict(counts), f"{time.monotonic() - start:.0f} s, {home}", flush=True)
    row = {
        "processes": given.processes,
        **{name: counts[name] for name in ("kills", "in a save", "SIGTERM", "runs", "equal")},
        "machine": machine(),
        "date": time.strftime("%Y-%m-%d"),
    }
    print(row)
    if counts["equal"] < counts["runs"]:
        raise SystemExit(f"not all runs ended like the one left in peace: see {home}")
    keep("reliability", row, "processes", "machine")


if __name__ == "__main__":
    main()
