"""The claims of our sources, and what was seen of each: what docs/claims.md is made of.

python docs/claims_page.py      # draw their curves
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from typing import Any

from curves import compared
from generate import ROOT, table
from tables import kept

PICTURES = ROOT / "docs" / "pictures" / "claims"
NOT_RUN = "not run yet"
Row = Mapping[str, Any]


def overview() -> str:
    """How many claims there are of each verdict, and a line on every one."""
    rows = kept("claims")
    counts = Counter(row["verdict"] for row in rows)
    told = ", ".join(f"{number} {verdict}" for verdict, number in counts.most_common())
    head = ("claim", "what is said", "verdict", "difference, with 95 % confidence")
    lines = [
        (f"[`{row['claim']}`](#{row['claim']})", row["says"], row["verdict"], difference(row))
        for row in rows
    ]
    return f"\n{len(rows)} claims: {told}.\n{table(head, lines)}"


def sections() -> str:
    """Every claim with its experiments, figures and curves, by subject."""
    return "\n" + "\n".join(
        f"## {subject}\n\n" + "\n".join(map(section, rows))
        for subject, rows in groupby(kept("claims"), key=lambda row: str(row["subject"]))
    )


def section(row: Row) -> str:
    """A claim: who says what, what was run, and what came of it."""
    values = row.get("values", {})
    lines = [(name, f"`{run}`", values.get(name, "")) for name, run in row["arms"].items()]
    runs = table(("experiment", "what is run", row["measure"]), lines)
    picture = f"![Curves of {row['claim']}](pictures/claims/{row['claim']}.svg)\n\n"
    return (
        f"### {row['claim']}\n\n{row['says']} ({row['source']})\n\n"
        f"**{row['verdict'].capitalize()}**{_evidence(row)}: "
        f"`python benchmarks/claims.py {row['claim']}`\n{runs}"
        + (f"{row['remark']}\n\n" if row["remark"] else "")
        + (picture if has_curves(row) else "")
    )


def difference(row: Row) -> str:
    """The mean and the interval, as shares in percent where they are relative."""
    if "difference" not in row:
        return ""
    mean, *ends = (_number(x, relative=row["relative"]) for x in row["difference"])
    unit = " %" if row["relative"] else ""
    return f"{mean}{unit} [{', '.join(ends)}]"


def has_curves(row: Row) -> bool:
    """Whether both experiments have a course that can be drawn."""
    return all(row["curves"].values())


def draw() -> None:
    """Draw the curves of all claims anew."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for old in PICTURES.glob("*.svg"):
        old.unlink()
    for row in filter(has_curves, kept("claims")):
        svg = compared(row["curves"], row["curve"])
        (PICTURES / f"{row['claim']}.svg").write_text(svg, encoding="utf-8")


def _evidence(row: Row) -> str:
    if row["verdict"] == NOT_RUN:
        return ""
    expected = f"{row['expects']}{_size(row)} was claimed"
    return f", {difference(row)} of {len(row['seeds'])} seeds, where {expected}"


def _size(row: Row) -> str:
    """By how much at least, or which margin is left."""
    if not row["by"]:
        return ""
    unit = " %" if row["relative"] else ""
    number = _number(abs(row["by"]), relative=row["relative"]).lstrip("+")
    return f" by {number}{unit}" if row["by"] > 0 else f", or no more than {number}{unit} off,"


def _number(x: float, *, relative: bool) -> str:
    return f"{100 * x:+.1f}" if relative else f"{x:+.3g}"


if __name__ == "__main__":
    draw()
