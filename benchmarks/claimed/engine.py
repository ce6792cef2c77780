"""Run experiments that have no figures yet, each in a process of its own, and judge claims."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pkgutil import resolve_name
from statistics import fmean
from typing import Any

from figures import Row
from speed.apart import apart

from claimed.claim import Claim, Run
from claimed.paired import differences, interval, verdict

NOT_RUN = "not run yet"
Asked = tuple[Run, int]  # an experiment and a seed


class Kept:
    """The curves of experiments that were run before."""

    def __init__(self, rows: Iterable[Mapping[str, Any]]) -> None:
        self.rows = list(rows)

    def by_seed(self, run: Run) -> dict[int, Any]:
        """Those of an experiment."""
        return {row["seed"]: row["curves"] for row in self.rows if row["run"] == run.key}

    def missing(self, claims: Iterable[Claim], seeds: Sequence[int]) -> list[Asked]:
        """What is left to run for some claims, each once."""
        return [(r, s) for r, s in asked_by(claims, seeds) if s not in self.by_seed(r)]


def asked_by(claims: Iterable[Claim], seeds: Sequence[int]) -> list[Asked]:
    """The experiments of some claims, those of the first claim first."""
    runs = {str(run.key): run for claim in claims for run in claim.arms.values()}
    return [(run, seed) for run in runs.values() for seed in seeds]


def carried_out(
    asked: Sequence[Asked], jobs: int, *, quick: bool = False
) -> Iterator[Row | Exception]:
    """A row of each experiment as soon as it is done, or what it failed by."""
    with ThreadPoolExecutor(jobs) as pool:  # of which each waits for a process
        by = {pool.submit(apart, "claimed.engine:curves", *one, quick): one for one in asked}
        for answer in as_completed(by):
            run, seed = by[answer]
            error = answer.exception()
            if isinstance(error, Exception):
                error.add_note(f"seed {seed} of {run.key}")
                yield error
            else:
                yield {"run": run.key, "seed": seed, "curves": answer.result()}


def curves(run: Run, seed: int, quick: bool) -> Any:
    """What an experiment returns, in few digits."""
    found = resolve_name(run.function)(seed, **run.arguments, quick=quick)
    return {name: [[x, rounded(y, 4)] for x, y in points] for name, points in found.items()}


def result(claim: Claim, kept: Kept) -> Row:
    """What was found of a claim with all seeds that both of its arms were run with."""
    found = {name: kept.by_seed(run) for name, run in claim.arms.items()}
    seeds = sorted(set.intersection(*map(set, found.values())))
    row: Row = {"seeds": seeds, "verdict": NOT_RUN}
    if len(seeds) < 2:
        return row
    values = {name: [claim.measure(by[seed]) for seed in seeds] for name, by in found.items()}
    gaps = interval(differences(*values.values(), relative=claim.relative))
    row["verdict"] = verdict(gaps.turned(claim.sign), claim.by)
    row["values"] = {name: rounded(fmean(each)) for name, each in values.items()}
    row["difference"] = [rounded(x) for x in (gaps.mean, gaps.low, gaps.high)]
    return row


def rounded(x: float, digits: int = 3) -> float:
    """To so many digits that are no leading zeros."""
    return float(f"{x:.{digits}g}")
