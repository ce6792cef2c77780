"""The rewards of a completion's steps: those of functions, and those of an environment."""

import math
from collections.abc import Sequence

from anypo.errors import RewardError
from anypo.hooks.batch import Sample, step_columns
from anypo.rewards.answers import Answer
from anypo.rewards.load import Reward


def steps_of(sample: Sample) -> dict[int, float]:
    """The rewards that a sample has by now, by the token that ends their step."""
    rewards, ends = (sample.columns.get(name, ()) for name in ("step_rewards", "step_ends"))
    return {i: r for i, (r, is_end) in enumerate(zip(rewards, ends, strict=True)) if is_end}


def rewarded_steps(
    sample: Sample, rewards: Sequence[Reward], answers: Sequence[Answer]
) -> dict[str, list[float]]:
    """The steps of all functions as columns, weighted.

    Those that an environment rewards are there already, and may be rewarded further: the last of
    them by what functions give the whole.

    Raises:
        RewardError: Two steps end at the same token, or one beyond the completion.
    """
    before, steps = steps_of(sample), dict[int, float]()
    for reward, answer in zip(rewards, answers, strict=True):
        for end, value in answer.score if isinstance(answer.score, list) else []:
            if end in steps or not 0 <= end < len(sample.completion_ids):
                raise RewardError(
                    f"reward '{reward.name}' ends a step at token {end} of a completion of "
                    f"{len(sample.completion_ids)} tokens: each end is a token, and used once"
                )
            steps[end] = reward.weight * value
    every = {end: before.get(end, 0.0) + steps.get(end, 0.0) for end in {**before, **steps}}
    if before:
        every[max(before)] += _of_whole(sample, rewards, answers)
    return step_columns(len(sample.completion_ids), list(every.items()))


def _of_whole(sample: Sample, rewards: Sequence[Reward], answers: Sequence[Answer]) -> float:
    """What functions give a completion as a whole, weighted, beyond what they gave before."""
    found = 0.0
    for reward, answer in zip(rewards, answers, strict=True):
        if not isinstance(answer.score, list):
            given = sample.score_weights.get(reward.name, 1.0) * sample.scores.get(reward.name, 0.0)
            parts = reward.weight * answer.score, -given
            found += sum(part for part in parts if not math.isnan(part))
    return found
