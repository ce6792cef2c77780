"""`anypo preview`: what an algorithm would read of its data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.text import Text

from anypo.errors import ConfigError
from anypo_cli.printing import plain
from anypo_cli.run import RunGroup
from anypo_cli.tokens_shown import legend, parts, shown

if TYPE_CHECKING:
    from anypo.composition.algorithm import Algorithm
    from anypo.runs.options import RunConfig
    from anypo.runs.preview import Preview
    from anypo.runs.recipe import Recipe

ROWS = 3


class PreviewGroup(RunGroup):
    """What stands after `anypo run` may stand after `anypo preview`, and nothing is trained."""

    def for_stack(self, recipe: Recipe, written: Recipe, args: Sequence[str]) -> Any:
        """The command of a stack."""
        from anypo_cli.options import build_command, option_of

        extra = [option_of("rows", int, "How many rows are shown.", str(ROWS), "Preview")]
        return build_command(recipe, written, args, show_preview, extra)

    def going_on(self, names: Sequence[str], args: Sequence[str]) -> Any:
        """Refuse that: a run that goes on reads what it read."""
        raise ConfigError("there is no preview of --resume DIR: --config DIR/config.toml has one")


def show_preview(
    algorithm: Algorithm, config: RunConfig, notes: Sequence[str], rows: int | None
) -> None:
    """Print what would be read of each data set; status 1 if a run would be refused."""
    from anypo.runs.preview import previews
    from anypo_cli.running import make_display

    with make_display() as display:
        for note in notes:
            display.note(note)
        found = list(previews(algorithm, config, display))
    console = Console(highlight=False)
    for preview in found:
        for line in (*_facts(preview), *_examples(preview, ROWS if rows is None else rows)):
            console.print(line, soft_wrap=True)
    if any(preview.refusal for preview in found):
        raise typer.Exit(1)


def _facts(preview: Preview) -> Iterator[Text]:
    """The figures of a data set."""
    rows, tally, inputs = preview.rows, preview.found.tally, preview.inputs
    share = "" if preview.share is None else f", {preview.share:.1%} of all that is drawn"
    yield plain(rows.name, "bold")
    yield _fact("rows", f"{rows.total}, of columns {', '.join(rows.columns)}{share}")
    read = f"reads {', '.join(['prompt', *sorted(inputs.wanted)])} of {len(preview.found)} prompts"
    if preview.is_held_out:
        yield _fact("held out", read + ("" if inputs.wanted else ", to be completed"))
    else:
        then = " and samples completions" if inputs.sampler else ""
        yield _fact(preview.algorithm.name, read + then)
    for column, lengths in preview.lengths.items():
        if lengths:
            figures = f"{min(lengths)} to {max(lengths)} tokens, median {median(lengths):g}"
            yield _fact(column, figures)
    yield _fact(
        "too long", f"{len(tally.too_long)} prompts of more than {preview.limits.prompt} tokens"
    )
    if inputs.scorer or not inputs.wanted:
        yield _fact("rewards", _rewarded(preview))
    for note in preview.notes:
        yield _fact("note", note, "yellow")
    if preview.refusal:
        yield _fact("refused", preview.refusal, "red")
    yield Text()


def _fact(name: str, text: str, style: str = "") -> Text:
    return Text.assemble(plain(f"  {name}: ", "bold"), plain(text, style))


def _rewarded(preview: Preview) -> str:
    names = ", ".join(reward.name for reward in preview.rewards.rewards)
    if not names:
        return "none is named (--reward)"
    seen = [column for column, is_seen in preview.rewarded.items() if is_seen]
    others = [column for column, is_seen in preview.rewarded.items() if not is_seen]
    unseen = f", not {', '.join(others)}" if others else ""
    return f"{names}: given {', '.join(seen) or 'no column'}{unseen}"


def _examples(preview: Preview, number: int) -> Iterator[Text]:
    """The first rows as tokens."""
    if number:
        yield legend()
    for row, prompt, samples in preview.examples(number):
        if not samples:
            yield plain(f"row {row}", "bold")
            yield shown(preview.tokenizer, ("prompt", prompt.ids))
        for sample in samples:
            told = ", ".join(f"{name} {value:g}" for name, value in sample.columns.items())
            held = prompt.completions.items()
            column = next((c for c, x in held if x.ids == sample.completion_ids), "another row's")
            yield plain(f"row {row}: {column}{f' ({told})' if told else ''}", "bold")
            for part in parts(sample.prompt_ids, sample.completion_ids, sample.mask):
                yield shown(preview.tokenizer, part)
        yield Text()
