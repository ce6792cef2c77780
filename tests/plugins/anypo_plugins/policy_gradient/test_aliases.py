"""Aliases of policy gradients: stacks and knobs that others have named."""

import math
from statistics import fmean, stdev

import pytest
import torch

from anypo import compose
from anypo.hooks.specs import beginning


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


def prorl_by_hand(rows, new, sg):
    places = [(row, t) for row in rows for t in row.tokens]
    centred = [row.reward - fmean(row.mates) for row, _ in places]
    losses = []
    for (row, t), a in zip(places, centred, strict=True):
        advantage = (a - fmean(centred)) / stdev(centred)
        ratio, trust = (math.exp(x - row.old[t]) for x in (new[row.index][t], row.sampler[t]))
        gain = min(ratio * advantage, min(max(ratio, 0.8), 1.27) * advantage)
        weight = 1 / trust if 0.5 <= 1 / trust <= 5 else 0.0
        losses.append(1e-4 * (new[row.index][t] - row.ref[t]) ** 2 / 2 - weight * gain)
    return fmean(losses)


@pytest.mark.parametrize("seed", range(3))
def test_prorl_v2_agrees_with_the_equations_worked_by_hand(random_batch, agrees_by_hand, seed):
    logprobs, batch = random_batch(seed, scale=2.5)
    trust = (batch.old_logprobs - batch.sampler_logprobs)[batch.mask]
    assert trust.max() > math.log(5)
    assert trust.min() < math.log(0.5)
    agrees_by_hand(compose("prorl_v2"), prorl_by_hand, logprobs, batch)


def skywork_by_hand(rows, new, sg, entropy):
    losses = []
    for row in rows:
        for t in row.tokens:
            ratio = math.exp(new[row.index][t] - row.old[t])
            gain = min(ratio * row.advantage, min(max(ratio, 0.8), 1.2) * row.advantage)
            losses.append(-gain - 0.25 * entropy[row.index][t])
    return fmean(losses)


@pytest.mark.parametrize("seed", range(3))
def test_skywork_or1_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    logprobs, batch = random_batch(seed)
    algorithm = compose("skywork_or1", knobs={"entropy_target": 1.0})
    entropy = torch.rand(batch.mask.shape, generator=torch.Generator().manual_seed(seed)).double()
    batch, state = batch.replace(old_entropy=entropy), beginning() | {"adaptive_entropy": 0.25}
    agrees_by_hand(algorithm, skywork_by_hand, logprobs, batch, state=state, entropy=entropy)
    assert "reference" not in algorithm.requires
