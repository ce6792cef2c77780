"""What anypo raises: one clear sentence with what was wrong, where, and what to do."""

import re
from collections.abc import Iterable
from difflib import get_close_matches

LONGEST = 300  # characters of what others say
# Colours, titles and the like; then whatever else a terminal obeys, turns around or cannot show.
UNPRINTABLE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[\]PX^_][^\x07\x1b]*(\x07|\x1b\\)?"
    r"|[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


class AnypoError(Exception):
    """Base of every error a user can cause; the command line prints it as one line.

    Attributes:
        of_all: Whether all processes of the run raise it, in the same place.
    """

    of_all = False


class PluginError(AnypoError):
    """A plugin is missing, broken, or breaks the rules of its stage."""


class KnobError(AnypoError):
    """A knob is unknown, out of range, contradicted, or would be ignored."""


class ConfigError(AnypoError):
    """A run option is unknown, out of range, or contradicts another."""


class DataError(AnypoError):
    """A data set cannot be read or does not hold what the run needs."""


class RewardError(AnypoError):
    """A reward function cannot be found or did not return one finite number per completion."""


class ModelError(AnypoError):
    """A model or tokenizer cannot be loaded or does not fit the run."""


class SamplerError(AnypoError):
    """Completions cannot be sampled, or not from the current weights."""


class TrainingError(AnypoError):
    """Training cannot go on."""


class SaveError(AnypoError):
    """Something cannot be written, or is not what was written."""


class StoppedError(AnypoError):
    """A signal ended the run, as `exit_code` says: 128 and the number of the signal."""

    def __init__(self, said: str, exit_code: int) -> None:
        super().__init__(said)
        self.exit_code = exit_code


class PeerError(AnypoError):
    """Another process of the run failed, and says itself why."""


def printable(text: object) -> str:
    """A text of others without what would do something to a terminal."""
    return UNPRINTABLE.sub("", str(text))


def one_line(told: object) -> str:
    """What an error or a foreign program says, as one line of at most 300 characters."""
    return " ".join(printable(told).split())[:LONGEST]


def told(error: BaseException) -> str:
    """The type of an error and what it says, as one line."""
    try:
        says = one_line(error)
    except Exception as another:  # its own code runs, too
        says = f"it cannot say why, because of {type(another).__name__}"
    return f"{type(error).__name__}: {says}".removesuffix(": ")


def nearest(name: str, known: Iterable[str]) -> str:
    """A `; did you mean …?` with the known name nearest to `name`, or all of them if none is."""
    known = sorted(known)
    close = get_close_matches(name, known, n=1)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; there is {', '.join(known)}" if known else ""
