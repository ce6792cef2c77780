import math
from functools import partial
from statistics import fmean

import pytest

from anypo import compose


def drift(row):
    return sum(row.new) - sum(row.ref)


SLOPES = {  # f'(u) of the paper's table 1
    "reverse_kl": lambda u: math.log(u) + 1,
    "forward_kl": lambda u: -1 / u,
    "js_divergence": lambda u: math.log(2 * u / (1 + u)),
    "alpha_divergence": lambda u: (1 - u**-0.4) / 0.4,
}


def by_hand(slope, pairs):
    leads = [slope(math.exp(drift(w))) - slope(math.exp(drift(z))) for w, z in pairs]
    return fmean(math.log(1 + math.exp(-0.3 * lead)) for lead in leads)


@pytest.mark.parametrize(
    ("case", "knobs"),
    [("f-dpo js", {}), ("f-dpo fkl", {"f_divergence_type": "forward_kl"})],
    ids=["js", "fkl"],
)
def test_reproduces_the_golden_numbers(reproduces_paper, case, knobs):
    reproduces_paper(compose("f_dpo", knobs=knobs), case)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("divergence", SLOPES)
def test_agrees_with_the_equation_worked_by_hand(
    random_pairs, agrees_pair_by_pair, seed, divergence
):
    knobs = {"beta": 0.3, "f_divergence_type": divergence}
    if divergence == "alpha_divergence":
        knobs["f_alpha"] = 0.4
    formula = partial(by_hand, SLOPES[divergence])
    agrees_pair_by_pair(compose("f_dpo", knobs=knobs), formula, *random_pairs(seed, scale=0.5))


def test_a_whole_alpha_is_the_forward_kl(random_pairs):
    logprobs, batch = random_pairs()
    kinds = ({"f_divergence_type": "alpha_divergence", "f_alpha": 1.0},)
    kinds += ({"f_divergence_type": "forward_kl"},)
    algorithms = [compose("f_dpo", knobs=knobs) for knobs in kinds]
    one, other = (a.loss(logprobs, a.prepare(batch)).total.item() for a in algorithms)
    assert one == pytest.approx(other)


@pytest.mark.parametrize("divergence", SLOPES)
def test_log_ratios_of_hundreds_of_nats_are_finite(one_pair, loss_and_gradient, divergence):
    for far in (-400.0, 400.0):
        logprobs, batch = one_pair(far, -far)
        algorithm = compose("f_dpo", knobs={"f_divergence_type": divergence})
        loss, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
        assert loss.total.isfinite()
        assert gradient.isfinite().all()
