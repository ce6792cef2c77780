"""How long a reward may take."""

from contextlib import AbstractContextManager

from anypo.errors import RewardError
from anypo.support import timing


def in_time(what: str, seconds: float) -> AbstractContextManager[None]:
    """Interrupt the block once the time is up; see `anypo.support.timing`. Raises RewardError."""
    return timing.in_time(what, seconds, "reward_timeout", RewardError)
