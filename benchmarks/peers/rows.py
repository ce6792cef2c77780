"""Rows of data sets, in the formats that both libraries read."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

ASKED = ("the sky", "a", "one and one", "of", "red or blue", "what now", "go", "his end")
GOOD = ("is blue", "cat", "are two", "course", "red", "we wait", "on and on", "of it")
BAD = ("is", "dogs bark", "make three, or four", "no", "green", "nothing", "away", "?")


def _said(role: str, text: str) -> list[Row]:
    return [{"role": role, "content": text}]


def _chat(asked: str, *replies: str) -> list[Row]:
    rest = [turn for r in replies for turn in (*_said("assistant", r), *_said("user", asked[:3]))]
    return [*_said("user", asked), *rest[:-1]]


TRIPLES = list(zip(ASKED, GOOD, BAD, strict=True))
ROWS: dict[str, list[Row]] = {
    "prompts": [{"prompt": a + ":"} for a in ASKED],
    "prompts of one length": [{"prompt": a[0] + ":"} for a in ASKED],
    "asked": [{"prompt": _said("user", a)} for a in ASKED],
    "texts": [{"prompt": a + ": ", "completion": g} for a, g, _ in TRIPLES],
    "plain": [{"text": f"{a}: {g}"} for a, g, _ in TRIPLES],
    "chats": [{"messages": _chat(a, g)} for a, g, _ in TRIPLES],
    "long chats": [{"messages": _chat(a, b, g)} for a, g, b in TRIPLES],
    "answers": [
        {"prompt": _said("user", a), "completion": _said("assistant", g)} for a, g, _ in TRIPLES
    ],
    "pairs": [{"prompt": a + ": ", "chosen": g, "rejected": b} for a, g, b in TRIPLES],
    "chat pairs": [
        {"prompt": _said("user", a)}
        | {c: _said("assistant", t) for c, t in (("chosen", g), ("rejected", b))}
        for a, g, b in TRIPLES
    ],
    "implicit pairs": [{"chosen": _chat(a, g), "rejected": _chat(a, b)} for a, g, b in TRIPLES],
    "margins": [
        {"prompt": a + ": ", "chosen": g, "rejected": b, "margin": i / 4}
        for i, (a, g, b) in enumerate(TRIPLES)
    ],
    "letters": [{"prompt": a[0], "chosen": g, "rejected": b} for a, g, b in TRIPLES],
    "labels": [
        {"prompt": a + ": ", "completion": b if i % 3 == 0 else g, "label": i % 3 != 0}
        for i, (a, g, b) in enumerate(TRIPLES)
    ],
}
