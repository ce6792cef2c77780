"""Compare training with anypo and with TRL, and write what docs/parity.md shows.

pip install -c constraints.txt -e '.[trl]'
python benchmarks/parity.py                # all of them: about two minutes
python benchmarks/parity.py KTO            # print those whose names hold a word, write nothing
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from figures import FOLDER
from peers import chats
from peers.bench import Bench
from peers.case import Case
from peers.cases import CASES


def row(case: Case, bench: Bench) -> dict[str, object]:
    """What came out of a case."""
    differences = {k: float(f"{v:.0e}") for k, v in asdict(bench.measure(case)).items()}
    return {"case": case.id, "algorithm": case.algorithm, "why": case.reason, **differences}


def template_row(name: str) -> dict[str, object]:
    """What came out of a chat template."""
    return {
        "template": name,
        **chats.tally(name),
        "why": {a: chats.EXPLAINED[name, a] for a in chats.ASPECTS if (name, a) in chats.EXPLAINED},
    }


def main() -> None:
    """Print all rows, and write them if they are all."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*")
    words = parser.parse_args().words
    found: dict[str, list[dict[str, object]]] = {"training": [], "templates": []}
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for case in CASES:
            if all(word in case.id for word in words):
                found["training"].append(row(case, bench))
                print(json.dumps(found["training"][-1]), flush=True)
    if not words:
        found["templates"] = [template_row(name) for name in chats.names()]
        (FOLDER / "parity.json").write_text(_lines(found), encoding="utf-8")


def _lines(found: dict[str, list[dict[str, object]]]) -> str:
    """JSON with a line for every row."""
    parts = (f'"{key}": [\n' + ",\n".join(map(json.dumps, rows)) for key, rows in found.items())
    return "{" + "\n],\n".join(parts) + "\n]}\n"


if __name__ == "__main__":
    main()
