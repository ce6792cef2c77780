"""Tokens as text: which of them are learnt, and where each begins."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from rich.text import Text

from anypo_cli.printing import plain

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

STYLES = {"prompt": "cyan", "learnt": "bold green", "not learnt": "yellow"}
SHOWN = 1000  # tokens of a part
NEWLINE = "↵\n           "  # as far in as the text of a part begins

Part = tuple[str, list[int]]  # its key in STYLES, and its tokens


def legend() -> Text:
    """What the colours mean."""
    shown = [Text(name, style) for name, style in STYLES.items()]
    marks = [
        Text("special", "reverse"),
        Text.assemble("ev", ("ery", "underline"), " to", ("ken", "underline")),
    ]
    return Text("  ").join([Text("legend:"), *shown, *marks])


def parts(
    prompt: Sequence[int], completion: Sequence[int], mask: Sequence[bool] | None
) -> Iterator[Part]:
    """A prompt and a completion, cut where another thing becomes of the tokens."""
    yield "prompt", list(prompt)
    learnt = mask or [True] * len(completion)
    for is_learnt, pairs in groupby(zip(learnt, completion, strict=True), lambda pair: pair[0]):
        yield ("learnt" if is_learnt else "not learnt"), [token for _, token in pairs]


def shown(tokenizer: PreTrainedTokenizerBase, part: Part) -> Text:
    """A part as one or more lines."""
    name, ids = part
    line = Text(f"{name:>10} ")
    special = {*tokenizer.all_special_ids}
    special |= {i for i, token in tokenizer.added_tokens_decoder.items() if token.special}
    for place, (piece, last) in enumerate(_pieces(tokenizer, ids[:SHOWN])):
        marks = ["underline"] * (place % 2) + ["reverse"] * (last in special)
        line.append_text(plain(piece.replace("\n", NEWLINE), " ".join([STYLES[name], *marks])))
    line.append(f" … {len(ids) - SHOWN} more" if len(ids) > SHOWN else "", "dim")
    return line.append(f"  ({len(ids)} tokens)", "dim")


def _pieces(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> Iterator[tuple[str, int]]:
    """What each token adds to the text; several together where a character takes several."""
    before = ""
    for place, token in enumerate(ids, 1):
        text = str(tokenizer.decode(ids[:place], clean_up_tokenization_spaces=False))
        if not text.endswith("\N{REPLACEMENT CHARACTER}") or place == len(ids):
            yield text[len(before) :], token
            before = text
