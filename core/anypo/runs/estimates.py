"""What several completions of each prompt say of a model, and how sure that is."""

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from statistics import fmean, stdev
from typing import NamedTuple


class Estimate(NamedTuple):
    """A mean over prompts."""

    value: float
    error: float | None  # its standard error; None of a single prompt, which tells none


def over_prompts(values: Sequence[float]) -> Estimate:
    """The mean of one value of each prompt, and its standard error.

    The completions of a prompt are alike, so they count as one observation: the errors are
    clustered by prompt. Source: Miller 2024, Adding Error Bars to Evals, arXiv:2411.00640,
    section 2.2.
    """
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None
    return Estimate(fmean(values), error)


def best_of(k: int, rewards: Sequence[float]) -> float:
    """The expected highest reward of `k` of these completions of a prompt, without bias.

    That is the mean over all subsets of `k`. The i-th lowest reward is the highest of
    C(i - 1, k - 1) of them. Where rewards are 0 or 1, it is pass@k: 1 - C(n - c, k) / C(n, k) with
    c right ones of n. Source: Chen et al. 2021, arXiv:2107.03374, section 2.1.
    """
    subsets = math.comb(len(rewards), k)
    return math.fsum(
        reward * (math.comb(i, k - 1) / subsets) for i, reward in enumerate(sorted(rewards))
    )


def majority(rewards: Sequence[float], answers: Sequence[Hashable]) -> float:
    """The reward of the answer that most completions of a prompt give.

    Of several that equally many give, each is as likely to be taken. Source: self-consistency,
    Wang et al. 2022, arXiv:2203.11171, section 2.
    """
    votes = Counter(answers)
    most = max(votes.values())
    taken = [r for r, answer in zip(rewards, answers, strict=True) if votes[answer] == most]
    return fmean(taken)


def sizes(samples: int) -> list[int]:
    """1, 2, 4, … up to the number of completions, which is the last."""
    return sorted({*(2**power for power in range(samples.bit_length())), samples})
