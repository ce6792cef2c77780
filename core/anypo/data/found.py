"""The prompts that were found in a data set, and those of them that can be used."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from anypo.data.bad_rows import told
from anypo.data.tally import Limits, Tally, nothing_left
from anypo.errors import DataError
from anypo.hooks.batch import Prompt
from anypo.support.lazy import Lazy, Picked

Check = Callable[[Prompt], None]


@dataclass(frozen=True)
class PromptSet(Lazy[Prompt]):
    """The prompts of a data set, each with the number of its row, and what else is known of it."""

    name: str
    prompts: Sequence[Prompt]
    numbers: Sequence[int]
    tally: Tally

    def __len__(self) -> int:
        return len(self.prompts)

    def at(self, place: int) -> Prompt:
        """See `Lazy`."""
        return self.prompts[place]


def accept(prompt: Prompt) -> None:
    """Find nothing wrong with a row."""


def all_of(checks: Iterable[Check]) -> Check:
    """What finds wrong whatever one of the checks does, the first of them first."""
    strict = [check for check in checks if check is not accept]

    def check_all(prompt: Prompt) -> None:
        for check in strict:
            check(prompt)

    return check_all if strict else accept


def usable(found: PromptSet, limits: Limits, check: Check, *, skip_bad: bool) -> PromptSet:
    """The prompts of the rows that can be used.

    Args:
        found: All of them; its tally is told of the rows that are not.
        limits: How long they may be.
        check: Raises DataError for rows that cannot be used.
        skip_bad: Whether to leave bad rows out.

    Raises:
        DataError: Rows are bad, and not to be skipped; or none is left.
    """
    if check is not accept:
        _check_each(found, check)
    bad = found.tally.bad
    left: Sequence[int] = range(len(found))
    if bad:
        left = [place for place, number in enumerate(found.numbers) if number not in bad]
    if bad and not (skip_bad and left):
        advice = "; --bad-rows skip leaves such rows out" if left else ""
        raise DataError(told(found.name, bad, found.tally.total) + advice)
    if not left:
        raise nothing_left(found.name, found.tally, limits)
    if len(left) == len(found):
        return found
    numbers = Picked(found.numbers, left)
    return PromptSet(found.name, Picked(found.prompts, left), numbers, found.tally)


def _check_each(found: PromptSet, check: Check) -> None:
    bad = found.tally.bad
    for number, prompt in zip(map(int, found.numbers), found.prompts, strict=True):
        if number not in bad:
            try:
                check(prompt)
            except DataError as error:
                bad[number] = str(error)
    found.tally.bad = dict(sorted(bad.items()))
