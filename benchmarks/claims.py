"""Try at our scale what our sources claim, and keep what docs/claims.md shows of it.

    python benchmarks/claims.py                          # all that is left: hours on one core
    python benchmarks/claims.py online_dpo gfpo_tokens   # some, by name
    python benchmarks/claims.py --list                   # every claim, and what is left to run

A claim is two experiments with the same seeds; one that several claims name is run once. Whatever
is kept is not run again, so a run that was ended goes on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import figures
from claimed.catalogue import BY_SUBJECT, CLAIMS
from claimed.claim import SEEDS, Claim
from claimed.engine import Kept, asked_by, carried_out, result

RUNS, FOUND = "claim_runs", "claims"  # what is kept: the curves, and what the page shows


def main() -> None:
    """Run what is left, print what is found, and keep it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a claim; else all")
    parser.add_argument("--list", action="store_true", help="run nothing, say what is left")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many, at least 2")
    parser.add_argument("--jobs", type=int, default=1, help="experiments beside each other")
    parser.add_argument("--again", action="store_true", help="also what was run before")
    parser.add_argument("--quick", action="store_true", help="two steps of each; keep nothing")
    asked = parser.parse_args()
    if unknown := set(asked.names) - CLAIMS.keys():
        parser.error(f"there is no claim '{min(unknown)}'; --list shows those there are")
    if asked.seeds < 2:
        parser.error("an interval needs at least 2 seeds")
    chosen = [CLAIMS[name] for name in asked.names or CLAIMS]
    seeds = range(1 if asked.quick else asked.seeds)
    if asked.list:
        tell(chosen, Kept(figures.kept(RUNS)), seeds)
        return
    anew = asked.again or asked.quick
    runs = asked_by(chosen, seeds) if anew else Kept(figures.kept(RUNS)).missing(chosen, seeds)
    failed = 0
    for row in carried_out(runs, asked.jobs, quick=asked.quick):
        if isinstance(row, Exception):
            failed += 1
            print(f"failed: {row}, {' '.join(row.__notes__)}", flush=True)
        elif asked.quick:
            print(json.dumps(row), flush=True)
        else:
            figures.keep(RUNS, row, "run", "seed")
            write()
            print(f"seed {row['seed']} of {described(row['run'])}", flush=True)
    if not asked.quick:
        write()
        tell(chosen, Kept(figures.kept(RUNS)), seeds)
    if failed:
        raise SystemExit(f"{failed} experiments failed")


def write() -> None:
    """What is found of every claim, also of those not run yet, for the page."""
    kept = Kept(figures.kept(RUNS))
    rows = [row(subject, c, kept) for subject, claims in BY_SUBJECT.items() for c in claims]
    lines = ",\n".join(json.dumps(each, ensure_ascii=False) for each in rows)
    Path(figures.FOLDER, f"{FOUND}.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def row(subject: str, claim: Claim, kept: Kept) -> figures.Row:
    """All that the page says of a claim."""
    arms = {name: described(run.key) for name, run in claim.arms.items()}
    curve = claim.measure.curve
    curves = {
        name: {seed: by[curve] for seed, by in kept.by_seed(run).items() if len(by[curve]) > 1}
        for name, run in claim.arms.items()
    }
    said = {"claim": claim.name, "subject": subject, "source": claim.source, "says": claim.says}
    how = {"measure": claim.measure.name, "curve": curve, "expects": claim.expects}
    size = {"by": claim.by, "relative": claim.relative, "remark": claim.remark}
    return {**said, **how, **size, "arms": arms, **result(claim, kept), "curves": curves}


def tell(claims: Iterable[Claim], kept: Kept, seeds: range) -> None:
    """A line on each claim, and how much is left to run."""
    for claim in claims:
        found = result(claim, kept)
        mean, *ends = found.get("difference", ["-"])
        between = f" [{ends[0]:+}, {ends[1]:+}]" if ends else ""
        print(f"{claim.name}: {found['verdict']}; {claim.measure.name}: {mean}{between}")
    print(f"left to run: {len(kept.missing(claims, seeds))} experiments")


def described(run: dict[str, Any]) -> str:
    """An experiment in a line."""
    if "stages" in run:
        return " | ".join(map(_stage, run["stages"]))
    arguments = {name: value for name, value in run.items() if name != "function"}
    return f"{run['function']}({_listed(arguments)})"


def _stage(how: dict[str, Any]) -> str:
    settings = {**how["knobs"], **how.get("hooks", {}), **how["options"]}
    rows = f" on {how['rows'][0]}({', '.join(map(str, how['rows'][1:]))})" if "rows" in how else ""
    return f"{how['algorithm']}{rows}, {_listed(settings)}"


def _listed(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


if __name__ == "__main__":
    main()
