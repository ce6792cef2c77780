"""What the kit found, property by property."""

from __future__ import annotations

import inspect
import textwrap
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from anypo.errors import AnypoError, PluginError

WIDTH = 100


class Status(Enum):
    """How a property came out."""

    PASSED = "passed"
    FAILED = "FAILED"
    NOT_APPLICABLE = "not applicable"


class Violation(Exception):  # noqa: N818
    """A property does not hold; the message is the counterexample in plain words."""


class NotApplicable(Exception):  # noqa: N818
    """A property says nothing about this plugin; the message is why."""


@dataclass(frozen=True)
class Result:
    """One property of a plugin."""

    name: str
    about: str  # what holds, in one line
    status: Status
    detail: str = ""  # the counterexample, or why it is not applicable


def result_of(check: Callable[..., None], attempt: Callable[[], Any]) -> Result:
    """What becomes of an attempt at a property.

    Args:
        check: The property: its name, and what holds, in the first line of its docstring.
        attempt: Tries it, and raises if it does not hold.
    """
    name, about = check.__name__, inspect.cleandoc(check.__doc__ or "").partition("\n")[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they warn of is found, and in other words
            attempt()
    except NotApplicable as reason:
        return Result(name, about, Status.NOT_APPLICABLE, str(reason))
    except (Violation, AnypoError) as found:
        return Result(name, about, Status.FAILED, str(found))
    except Exception as error:  # the plugin may do anything, and the other properties still count
        return Result(name, about, Status.FAILED, f"{type(error).__name__}: {error}")
    return Result(name, about, Status.PASSED)


@dataclass(frozen=True)
class Report:
    """All properties of a plugin. Prints as a table, counterexamples below it."""

    plugin: str
    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """Whether no property failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Result, ...]:
        """The properties that failed."""
        return tuple(result for result in self.results if result.status is Status.FAILED)

    def __getitem__(self, name: str) -> Result:
        return {result.name: result for result in self.results}[name]

    def raise_if_failed(self) -> None:
        """Raise a PluginError with the whole report if a property failed."""
        if not self.ok:
            raise PluginError(str(self))

    def __str__(self) -> str:
        width = max(len(result.name) for result in self.results)
        lines = [f"conformance of {self.plugin}", ""]
        lines += [f"  {result.name:<{width}}  {_short(result)}" for result in self.results]
        for failure in self.failures:
            lines += ["", f"{failure.name}: {failure.about}", *_wrapped(failure.detail)]
        return "\n".join([*lines, "", self._summary()])

    def _summary(self) -> str:
        counts = {s: sum(r.status is s for r in self.results) for s in Status}
        return ", ".join(f"{count} {status.value}" for status, count in counts.items() if count)


def _short(result: Result) -> str:
    reason = f": {result.detail}" if result.status is Status.NOT_APPLICABLE else ""
    return f"{result.status.value}{reason}"


def _wrapped(text: str) -> list[str]:
    """The lines of a text, indented, and long ones folded."""
    return [
        part
        for line in text.splitlines()
        for part in textwrap.wrap(
            line, WIDTH, initial_indent="    ", subsequent_indent="      ", break_long_words=False
        )
    ]
