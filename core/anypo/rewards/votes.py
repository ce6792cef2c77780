"""What completions give as their answers, as far as a reward can tell: for a vote."""

from collections.abc import Sequence
from typing import Any

from anypo.errors import RewardError, told
from anypo.rewards.load import Reward
from anypo.rewards.scorer import Rewards
from anypo.rewards.timing import in_time
from anypo.support.foreign import foreign

ATTRIBUTE = "answer_of"


Answers = list[str | None] | None  # of completions; a completion may give none


def teller(scorer: Rewards) -> Reward | None:
    """The first reward whose function tells answers; None if none does.

    One that does has an attribute `answer_of`, a function that is given a completion, and tells its
    answer as a text, or None where there is none.
    """
    return next((r for r in scorer.rewards if hasattr(r.function, ATTRIBUTE)), None)


def answers(scorer: Rewards, completions: Sequence[Any]) -> Answers:
    """What completions answer, as rewards see them; None if no reward tells.

    Raises:
        RewardError: It raised, or took too long.
    """
    reward = teller(scorer)
    if reward is None:
        return None
    name, answer_of = f"answer_of of reward '{reward.name}'", getattr(reward.function, ATTRIBUTE)

    def failure(error: BaseException) -> RewardError:
        return RewardError(f"{name} raised {told(error)}")

    with scorer.world.agreed(), in_time(name, scorer.timeout), foreign(failure):
        found: list[Any] = [answer_of(completion) for completion in completions]
        return [None if answer is None else str(answer) for answer in found]
