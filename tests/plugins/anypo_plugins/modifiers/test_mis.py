import math

import pytest

from anypo import AnypoError, compose

BOUNDS = {"mis_low": 0.8, "mis_high": 1.3}
ON_GRPO = {"kl_coef": 0.0}


def ratios(row):
    return [math.exp(row.old[t] - row.sampler[t]) for t in row.tokens]


def product(row):
    whole = math.prod(ratios(row))
    return [whole if 0.8 <= whole <= 1.3 else 0.0] * len(row.tokens)


def geometric(row):
    mean = math.prod(ratios(row)) ** (1 / len(row.tokens))
    return ratios(row) if 0.8 <= mean <= 1.3 else [0.0] * len(row.tokens)


def by_hand_with(weights):
    def by_hand(rows, new, sg):
        gains = []
        for row in rows:
            for t, weight in zip(row.tokens, weights(row) if row.tokens else [], strict=True):
                ratio, a = math.exp(new[row.index][t] - row.old[t]), row.advantage
                gains.append(weight * min(ratio * a, min(max(ratio, 0.8), 1.28) * a))
        return -sum(gains) / len(gains)

    return by_hand


def test_reproduces_the_golden_loss(reproduces_paper):
    bounds = {"mis_low": 0.9, "mis_high": 1.05}
    reproduces_paper(compose("grpo", "mis", knobs=ON_GRPO | bounds), "mis sequence")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("weights", [product, geometric])
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, weights, seed):
    knobs = {"mis_mode": weights.__name__, **BOUNDS}
    logprobs, batch = random_batch(seed, scale=0.4)
    agrees_by_hand(compose("dapo", "mis", knobs=knobs), by_hand_with(weights), logprobs, batch)


def test_requires_what_the_sampler_reports():
    assert compose("dapo", "mis").requires == {"old_logprobs", "sampler_logprobs"}


@pytest.mark.parametrize("knobs", [{"mis_low": 1.1}, {"mis_high": 0.9}])
def test_bounds_that_drop_completions_on_which_both_agree_are_refused(knobs):
    with pytest.raises(AnypoError, match=next(iter(knobs))):
        compose("dapo", "mis", knobs=knobs)
