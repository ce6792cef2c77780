"""Aliases of policy gradients: stacks and knobs that others have named."""

import math
from statistics import fmean

import pytest

from anypo import compose


@pytest.mark.parametrize("case", ["intellect2", "intellect2 builtin"])
def test_intellect2_bounds_the_ratio_of_bad_completions(reproduces_paper, case):
    knobs = {"dual_clip": 1.25, "kl_coef": 0.0}
    reproduces_paper(compose("intellect2", knobs=knobs), case)


def r1_by_hand(rows, new, sg):
    losses = []
    for row in filter(lambda row: row.tokens, rows):
        of_tokens = []
        for t in row.tokens:
            ratio, other = math.exp(new[row.index][t] - row.old[t]), row.ref[t] - new[row.index][t]
            gain = min(ratio * row.advantage, min(ratio, 11.0) * row.advantage)
            of_tokens.append(0.001 * (math.exp(other) - other - 1) - gain)
        losses.append(fmean(of_tokens))
    return fmean(losses)


@pytest.mark.parametrize("seed", range(3))
def test_deepseek_r1_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    logprobs, batch = random_batch(seed, scale=3.0)
    algorithm = compose("deepseek_r1")
    assert (logprobs - batch.old_logprobs)[batch.mask].max() > math.log(11)
    agrees_by_hand(algorithm, r1_by_hand, logprobs, batch)
