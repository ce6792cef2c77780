"""The page of papers: what became of each, and how that is known. A cog block calls `papers`."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from generate import ROOT, built_in, table, whole
from tables import kept, learned

from anypo.hooks import registry

ARXIV = re.compile(r"arXiv:(\d{4}\.\d{5})")
TESTS = ROOT / "tests" / "plugins" / "anypo_plugins"
GOLDEN = {"golden", "papers", "reproduces", "reproduces_pairs", "reproduces_paper"}  # hold some
BY_HAND = {"agrees_by_hand", "agrees_pair_by_pair", "agrees_in_logits"}  # of formulas written anew
ROLLED_OUT = {"rolls_out_by_hand"}  # of what is learnt from, written anew
Cases = dict[str, list[str]]  # by the name of an algorithm


def sources(plugin: Any) -> str:
    """The papers that the docstring of a plugin names, or else that of its module."""
    texts = (inspect.getdoc(plugin), inspect.getdoc(inspect.getmodule(plugin)))
    found = next((text for text in texts if text and "Source: " in text), "")
    return " ".join(found.partition("Source: ")[2].split("\n\n")[0].split())


def lines(plugin: type) -> int:
    """Of the body of a class, without docstrings, comments and what is blank."""
    text = inspect.getsource(plugin)
    documented = [
        n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.ClassDef | ast.FunctionDef)
    ]
    told = {
        line
        for node in documented
        if ast.get_docstring(node)
        for line in range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1)
    }
    body = list(enumerate(text.splitlines(), 1))[1:]
    return sum(n not in told and bool(re.match(r"\s*[^\s#]", line)) for n, line in body)


def papers() -> str:
    """A row on every built-in algorithm: its papers, lines, scores, and what it agrees with."""
    golden, by_hand, parity = in_tests(GOLDEN), in_tests(BY_HAND), with_trl()
    rolled_out = in_tests(ROLLED_OUT)
    rows = []
    for name in built_in():
        plugin = registry.find(name).load()
        agrees = [f"golden: {len(golden[name])}"] if name in golden else []
        agrees += ["by hand"] if name in by_hand else []
        agrees += ["rollout by hand"] if name in rolled_out else []
        agrees += [f"TRL: {parity[name]}"] if name in parity else []
        path = f"../plugins/{plugin.__module__.replace('.', '/')}.py"
        row = _papers(plugin), f"[`{name}`]({path})", lines(plugin), *_scores(name)
        rows.append((*row, ", ".join(agrees) or "-"))
    rows.sort(key=lambda row: (row[0].startswith("["), row[0]), reverse=True)
    head = ("paper", "name", "lines", "score before", "after", "agrees with")
    return table(head, rows)


def in_tests(fixtures: set[str]) -> Cases:
    """The golden cases, or else the tests, in which tests of one of some fixtures try algorithms.

    Read from the source of the tests. Where a test does not say what it composes, its file does.
    """
    found: Cases = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        for test in ast.walk(tree):
            if isinstance(test, ast.FunctionDef) and fixtures & {a.arg for a in test.args.args}:
                tried = list(_cases(test, constants)) if fixtures == GOLDEN else [test.name]
                names = _composed(test) or [path.stem.removeprefix("test_")]
                for name in filter(registry.knows, names):
                    own = [name] if name in tried and len(names) > 1 else tried
                    found.setdefault(name, []).extend(own)
    return {name: list(dict.fromkeys(tried)) for name, tried in found.items() if tried}


def with_trl() -> dict[str, int]:
    """In how many trainings each algorithm makes the steps that TRL's trainers make."""
    found: dict[str, int] = {}
    for row in kept("parity")["training"]:
        if not row["why"]:
            topmost = row["algorithm"].rpartition("+")[2]
            found[topmost] = found.get(topmost, 0) + 1
    return found


def _papers(plugin: Any) -> str:
    text = sources(plugin)
    numbers = dict.fromkeys(ARXIV.findall(text))
    links = [f"[{number}](https://arxiv.org/abs/{number})" for number in numbers]
    return ", ".join(links) or text.partition(";")[0]


def _scores(name: str) -> tuple[str, str]:
    """Before and after, of two seeds."""
    pairs = [row["score"] for row in learned(whole(name).name) if row["seed"] < 2]
    if not pairs:
        wanted = ", ".join(f"`{column}`" for column in sorted(whole(name).inputs.wanted))
        return f"not run: it needs {wanted}" if wanted else "not run yet", ""
    before, after = (", ".join(f"{pair[i]:.3f}" for pair in pairs) for i in (0, 1))
    return before, after


def _composed(test: ast.FunctionDef) -> list[str]:
    """What a test composes, by name or by a parameter of it; of a stack, the topmost."""
    calls = [
        node.args[-1]
        for node in ast.walk(test)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id == "compose"
        and node.args
    ]
    named = [str(a.value).rpartition("+")[2] for a in calls if isinstance(a, ast.Constant)]
    parameters = {argument.arg for argument in test.args.args}
    if any(isinstance(a, ast.Name) and a.id in parameters for a in calls):
        nodes = [node for mark in test.decorator_list for node in ast.walk(mark)]
        texts = [str(node.value) for node in nodes if isinstance(node, ast.Constant)]
        named += [text for text in texts if registry.knows(text)]
    return named


def _cases(test: ast.FunctionDef, constants: Mapping[str, ast.expr]) -> Iterator[str]:
    """The golden cases that a test names, also by the constants of its module."""
    used = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    for tree in (test, *(value for name, value in constants.items() if name in used)):
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and node.value in known_cases():
                yield str(node.value)
            if isinstance(node, ast.JoinedStr) and isinstance(node.values[0], ast.Constant):
                begins = str(node.values[0].value)
                yield from (case for case in known_cases() if case.startswith(begins))


@cache
def known_cases() -> frozenset[str]:
    """The ids of all golden cases."""
    golden, of_papers = (
        json.loads(Path(ROOT, "tests", f"{name}.json").read_text(encoding="utf-8"))["cases"]
        for name in ("golden", "golden-papers")
    )
    return frozenset([case["id"] for case in golden] + list(of_papers))
