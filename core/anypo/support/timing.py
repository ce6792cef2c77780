"""How long code of others may take."""

from collections.abc import Iterator
from contextlib import contextmanager

from anypo.errors import AnypoError
from anypo.support.deadline import DeadlineError, deadline, last_resort


@contextmanager
def in_time(what: str, seconds: float, option: str, refused: type[AnypoError]) -> Iterator[None]:
    """Interrupt the block once the time is up; 0 means no limit.

    What cannot be interrupted ends the process when twice the time has passed.

    Args:
        what: Takes the time.
        seconds: How long it may.
        option: Of the run, that says so.
        refused: What is raised where it takes longer.

    Raises:
        ConfigError: Nothing can be interrupted here.
    """
    took = f"{what} took longer than {seconds:g} s"
    why = f"{took}, and nothing could interrupt it; raise {option} if it may"
    try:
        with last_resort(2 * seconds, why), deadline(seconds, option):
            yield
    except DeadlineError:
        raise refused(f"{took}; raise {option} if it may") from None
