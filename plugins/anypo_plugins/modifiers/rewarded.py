"""What modifiers of a rollout by rewards may count on."""

from anypo import AnypoError


def rewarded(samples, modifier, does):
    """The samples, each of which has a reward.

    Args:
        samples: Of the rollout below.
        modifier: Which asks.
        does: What it does with rewards, as in "changes".
    """
    if any(sample.reward is None for sample in samples):
        raise AnypoError(
            f"{modifier} {does} rewards, but the rollout below it gives completions without any: "
            "leave it out, or put it on an algorithm that learns from rewards"
        )
    return samples
