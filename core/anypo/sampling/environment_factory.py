"""Environments that are written for TRL's `environment_factory`.

Such a class has `reset`, which is given the columns of a row, and public methods, which are tools.
What tools return and raise is told in TRL's words, so that a policy reads the same tokens.
"""

import weakref
from collections.abc import Callable, Sequence
from inspect import iscoroutinefunction
from typing import Any

from anypo.data.calls import Call, Reply
from anypo.sampling.environments import Answer, Environments, NoCallError
from anypo.sampling.load import ChosenEnvironment, methods
from anypo.support.here import Here

NO_TOOLS = ("reset", "get_reward")


class FactoryEnvironments(Environments):
    """Asks them as TRL does: a reply that calls nothing, or in part what is no call, is the last.

    One is used again when nobody has the sample of its conversation any more.
    """

    rewards = False

    def __init__(self, chosen: ChosenEnvironment, timeout: float) -> None:
        super().__init__(chosen, timeout)
        self.free = [self.first]
        self.score = _score_of(self.first)

    def answer_last(self, asked: Sequence[tuple[Any, Reply]]) -> list[Answer]:
        """Nothing: tools are called for the next reply alone."""
        return [Answer(done=True) for _ in asked]

    def lent(self, environment: Any, rank: int) -> Here:
        """See `Environments.lent`."""
        lent = super().lent(environment, rank)
        weakref.finalize(lent, self.free.append, environment)
        return lent

    def _taken(self) -> Any:
        return self.free.pop() if self.free else super()._taken()

    def _reset(self, environment: Any, row: dict[str, Any]) -> Any:
        return environment.reset(**{name: x for name, x in row.items() if name != "tools"})

    def _tools(self, environment: Any) -> Sequence[Callable[..., Any]]:
        names = [name for name in methods(type(environment)) if name not in NO_TOOLS]
        return [getattr(environment, name) for name in names]

    async def _answer(self, environment: Any, reply: Reply) -> Answer:
        if not reply.calls or any(call.flaw for call in reply.calls):
            return Answer(done=True)
        waiting = {tool.__name__ for tool in self._tools(environment) if iscoroutinefunction(tool)}
        return await self._called(
            environment, sorted(reply.calls, key=lambda call: call.name in waiting)
        )

    def _text(self, result: Any) -> str:
        if isinstance(result, list) and result and all(map(_is_part, result)):
            (message,) = self._texts([{"role": "user", "content": result}])
            return str(message["content"])
        return str(result)

    def _complaint(self, call: Call, error: Exception) -> str:
        missing = isinstance(error, NoCallError)
        return str({"error": f"Tool {call.name} not found." if missing else str(error)})


def _score_of(example: Any) -> Callable[..., Any] | None:
    """`get_reward` as a reward function, if there is one; None of what no environment answered."""

    def score(environments: Sequence[Any]) -> list[Any]:
        return [None if one is None else one.get_reward() for one in environments]

    async def score_later(environments: Sequence[Any]) -> list[Any]:
        return [None if one is None else await one.get_reward() for one in environments]

    if not hasattr(example, "get_reward"):
        return None
    return score_later if iscoroutinefunction(example.get_reward) else score


def _is_part(value: Any) -> bool:
    return isinstance(value, dict) and "type" in value
