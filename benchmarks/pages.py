"""Run all that the pages show figures of, and write their tables anew.

    python benchmarks/pages.py --jobs 2      # three hours on two cores

What needs a package that is not installed is named, and its figures stay what they were.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md"))]
RUNS = [  # what is run, and the package that it needs
    (["pipelines.py"], "anypo"),
    (["architectures.py"], "peft"),
    (["parity.py"], "trl"),
    (["learning.py", "--seeds", "0", "1"], "anypo"),
    (["learning.py", "grpo", "--set", "lora_rank=8"], "peft"),
    (["learning.py", "grpo", "--seeds", "0", "1", "--set", "sampler='vllm'"], "vllm"),
    (["scaling.py"], "anypo"),
    (["teachers.py"], "anypo"),
    (["claims.py"], "anypo"),
    (["environments.py"], "anypo"),
    (["environments.py", "grpo", "--sampler", "vllm"], "vllm"),
    (["processes.py"], "anypo"),
    (["kills.py"], "anypo"),
    (["data.py"], "anypo"),
    (["plan.py"], "peft"),
    (["against_trl.py"], "trl"),
    (["turns.py"], "anypo"),
    (["turns.py", "--sampler", "vllm"], "vllm"),
    (["rollouts.py", "--shape", "small", "--prompts", "8", "--tokens", "64"], "vllm"),
]
BESIDE = ("learning.py", "claims.py")  # whose runs may stand beside each other


def main() -> None:
    """Run one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", default="1", help="learning runs beside each other")
    jobs = parser.parse_args().jobs
    for (script, *arguments), package in RUNS:
        if find_spec(package) is None:
            print(f"left out, for want of {package}: {script} {' '.join(arguments)}")
            continue
        beside = (
            ["--jobs", jobs] if script in ("learning.py", "claims.py") and package != "vllm" else []
        )
        program = str(ROOT / "benchmarks" / script)
        subprocess.run([sys.executable, program, *arguments, *beside], check=True)
    write()


def write() -> None:
    """Write the tables of the pages anew, and draw what they show."""
    subprocess.run([sys.executable, "docs/claims_page.py"], check=True, cwd=ROOT)
    cog = [sys.executable, "-m", "cogapp", "-I", "docs", "-r", *PAGES]
    subprocess.run(cog, check=True, cwd=ROOT)


if __name__ == "__main__":
    main()
