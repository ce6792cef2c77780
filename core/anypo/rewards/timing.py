"""How long a reward may take."""

from collections.abc import Iterator
from contextlib import contextmanager

from anypo.errors import RewardError
from anypo.support.deadline import DeadlineError, deadline, last_resort


@contextmanager
def in_time(what: str, seconds: float) -> Iterator[None]:
    """Interrupt the block once the time is up; 0 means no limit.

    What cannot be interrupted ends the process when twice the time has passed.

    Raises:
        RewardError: It took too long.
        ConfigError: Nothing can be interrupted here.
    """
    took = f"{what} took longer than {seconds:g} s"
    why = f"{took}, and nothing could interrupt it; raise reward_timeout if it may"
    try:
        with last_resort(2 * seconds, why), deadline(seconds):
            yield
    except DeadlineError:
        raise RewardError(f"{took}; raise reward_timeout if it may") from None
