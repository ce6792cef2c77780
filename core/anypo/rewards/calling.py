"""Ask reward functions: one after the other, and those that wait for services all at once."""

import copy
from collections.abc import Sequence
from inspect import iscoroutinefunction, signature
from typing import Any

from anypo.errors import ConfigError, RewardError, told
from anypo.rewards.answers import Answer, checked
from anypo.rewards.load import Reward
from anypo.rewards.timing import in_time
from anypo.support.foreign import foreign, place
from anypo.support.loop import awaited
from anypo.support.retries import PATIENCE, Patience
from anypo.support.together import together

ENVIRONMENTS = "environments"  # what an argument is called that is given those that answered
PASSING = ConfigError, RewardError  # what says itself what is wrong


class Call:
    """A reward function, and what it is asked about.

    Args:
        reward: Whose function it is.
        arguments: Columns by their names, of which it is given those that it asks for.
        retries: How often it is called again where its service could not be reached.
    """

    def __init__(self, reward: Reward, arguments: dict[str, Any], retries: int) -> None:
        self.reward, self.patience = reward, Patience(retries)
        self.rows, self.is_answered = len(arguments["completions"]), False
        self.answer: Any = None
        parameters = signature(reward.function).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            arguments = {name: value for name, value in arguments.items() if name in parameters}
        self.arguments = arguments

    @property
    def awaits(self) -> bool:
        """Whether it is an `async def`."""
        function: Any = self.reward.function
        return iscoroutinefunction(function) or iscoroutinefunction(function.__call__)

    def ask(self) -> Any:
        """Call it, with a copy: what a function does to its arguments is its own affair.

        Environments, which may be impossible to copy, are themselves.
        """
        themselves = {id(each): each for each in self.arguments.get(ENVIRONMENTS, ())}
        return self.reward.function(**copy.deepcopy(self.arguments, themselves))

    async def wait(self) -> None:
        """Have its answer, which it takes an event loop to get."""
        PATIENCE.set(self.patience)
        with foreign(self.explain, passing=PASSING):
            self.answer = await self.patience.wait_for(self.ask)
        self.is_answered = True

    def explain(self, error: BaseException) -> RewardError:
        """What it raised, and after how many attempts."""
        again = f", further attempts: {self.patience.again}" if self.patience.again else ""
        return RewardError(f"{raised(self.reward, error)}{again}")


def raised(reward: Reward, error: BaseException) -> RewardError:
    """What a reward raised, as an error that names it."""
    function: Any = reward.function
    own = getattr(function, "__module__", "") or type(function).__module__
    return RewardError(f"reward '{reward.name}' raised {told(error)}{place(error, own)}")


def answers(calls: Sequence[Call], timeout: float) -> list[list[Answer]]:
    """What every function says of every completion.

    Args:
        calls: Of functions with different names.
        timeout: Seconds that one may take, further attempts included; 0 for no limit.

    Raises:
        RewardError: One raised, took too long, or returned what is no reward.
    """
    for call in calls:
        if not call.awaits:
            limit = in_time(f"reward '{call.reward.name}'", timeout)
            with limit, foreign(call.explain, passing=PASSING):
                call.answer = call.patience.call(call.ask)
    if waiting := [call for call in calls if call.awaits]:
        _wait_for(waiting, timeout)
    return [checked(call.reward.name, call.answer, call.rows) for call in calls]


def _wait_for(calls: Sequence[Call], timeout: float) -> None:
    try:
        awaited(together([call.wait for call in calls]), timeout)
    except TimeoutError:
        late = " and ".join(f"'{call.reward.name}'" for call in calls if not call.is_answered)
        raise RewardError(
            f"reward {late} took longer than {timeout:g} s; raise reward_timeout if it may"
        ) from None
