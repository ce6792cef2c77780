"""`anypo chat`: talk to a model, or to two side by side."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

import torch
from rich.console import Console
from rich.live import Live
from rich.table import Table
from transformers.utils.logging import disable_progress_bar

from anypo.errors import AnypoError, ModelError, printable
from anypo.hooks.sampler import SamplingRequest
from anypo.models.load import (
    has_scalar_head,
    load_config,
    load_model,
    load_tokenizer,
    model_path,
    sensible_threads,
)
from anypo.runs.options import make_config
from anypo.sampling.stream import Speaker
from anypo.training.distributed import Distributed
from anypo_cli.printing import plain, say

ASKING = "> "


@dataclass
class Side:
    """One of those who are talked to, with what has been said."""

    name: str
    speaker: Speaker
    said: list[dict[str, str]] = field(default_factory=list)  # messages

    def reply(self, text: str, request: SamplingRequest) -> Iterator[str]:
        """Its answer, piece by piece; a part of it is remembered where it is cut short."""
        if not self.speaker.converses:
            yield from self.speaker.answer(text, request)
            return
        answer: list[str] = []
        self.said.append({"role": "user", "content": text})
        try:
            for piece in self.speaker.answer(list(self.said), request):
                answer.append(piece)
                yield piece
        finally:
            self.said.append({"role": "assistant", "content": "".join(answer)})


def asking(temperature: float, max_length: int, seed: int | None) -> SamplingRequest:
    """How answers are drawn: at a temperature of 0 the likeliest token, else at random."""
    if seed is not None:
        torch.manual_seed(seed)
    heat = {"temperature": temperature} if temperature else {"top_k": 1}
    return SamplingRequest(max_completion_length=max_length, **heat)


def chat(
    models: Sequence[str], system: str | None, request: SamplingRequest, *, trusted: bool
) -> None:
    """Ask for texts, and show what the models answer, until there are no more.

    Raises:
        AnypoError: A model is missing or scores texts, or a system prompt is given to one without
            a chat template.
    """
    disable_progress_bar()
    sides = [_side(path, system, trusted=trusted) for path in models]
    console = Console(highlight=False)
    _introduce(sides)
    with sensible_threads(sides[0].speaker.engine.model):
        for text in _questions():
            show = _show_one if len(sides) == 1 else _show_both
            try:
                show(console, sides, text, request)
            except KeyboardInterrupt:
                console.print()
            except AnypoError as error:  # it may be of this text alone
                say(f"error: {error}")


def _side(path: str, system: str | None, *, trusted: bool) -> Side:
    folder = model_path(path, lambda text: say(f"note: {text}"))
    if has_scalar_head(load_config(folder, trust_remote_code=trusted)):
        raise ModelError(f"'{path}' scores texts: it says nothing; name it as a --reward")
    runtime = Distributed(make_config({"trust_remote_code": trusted})).runtime
    tokenizer = load_tokenizer(folder, trust_remote_code=trusted)
    if system and not tokenizer.chat_template:
        raise ModelError(f"'{path}' has no chat template, so nothing would read --system")
    model = load_model(folder, trust_remote_code=trusted)
    model.to(runtime.device)  # type: ignore[arg-type]
    said = [{"role": "system", "content": system}] if system else []
    return Side(path, Speaker(model, tokenizer, runtime), said)


def _introduce(sides: Sequence[Side]) -> None:
    if not sys.stdin.isatty():
        return
    for side in sides:
        if not side.speaker.converses:
            say(f"note: '{side.name}' has no chat template: it continues each text by itself")
    say("Ctrl-C ends an answer, Ctrl-D the conversation")


def _questions() -> Iterator[str]:
    """What is typed, or comes through a pipe, line by line."""
    while True:
        try:
            text = input(ASKING if sys.stdin.isatty() else "")
        except EOFError:
            return
        except KeyboardInterrupt:
            if not sys.stdin.isatty():
                raise
            print()
            continue
        if text.strip():
            yield text


def _show_one(console: Console, sides: Sequence[Side], text: str, request: SamplingRequest) -> None:
    for piece in sides[0].reply(text, request):
        print(printable(piece), end="", flush=True)
    print()


def _show_both(
    console: Console, sides: Sequence[Side], text: str, request: SamplingRequest
) -> None:
    answers = [""] * len(sides)

    def table() -> Table:
        shown = Table(box=None, pad_edge=False, header_style="bold", expand=True)
        for side in sides:
            shown.add_column(plain(side.name), ratio=1, overflow="fold")
        shown.add_row(*map(plain, answers))
        return shown

    replies = [side.reply(text, request) for side in sides]
    with Live(table(), console=console, auto_refresh=False) as live:
        for pieces in zip_longest(*replies, fillvalue=""):
            answers = [before + piece for before, piece in zip(answers, pieces, strict=True)]
            live.update(table(), refresh=console.is_terminal)
    console.line()
