import math
from statistics import fmean

import pytest
import torch

from anypo import compose

VOCABULARY = 5


def test_reproduces_the_golden_numbers(reproduces_paper):
    reproduces_paper(compose("wpo", knobs={"alignment": "none"}), "wpo")


def usual(alignment, probabilities):
    if alignment == "none":
        return 1.0
    return max(probabilities) if alignment == "greedy" else sum(p * p for p in probabilities)


@pytest.mark.parametrize("alignment", ["sampled", "greedy", "none"])
def test_agrees_with_the_equation_worked_by_hand(random_pairs, loss_and_gradient, alignment):
    logprobs, batch = random_pairs()
    random = torch.Generator().manual_seed(0)
    sizes = (*batch.mask.shape, VOCABULARY)
    distributions = torch.randn(sizes, generator=random, dtype=torch.float64).log_softmax(-1)
    algorithm = compose("wpo", knobs={"beta": 0.3, "alignment": alignment})
    said = algorithm.statistics(distributions.flatten(0, 1), None)
    said = {name: x.view(batch.mask.shape).requires_grad_() for name, x in said.items()}
    loss, gradient = loss_and_gradient(
        algorithm, logprobs, algorithm.prepare(batch), token_statistics=said
    )
    weight, drift = {}, {}
    for row, mask in enumerate(batch.mask.tolist()):
        tokens = [t for t, kept in enumerate(mask) if kept]
        logs = [
            logprobs[row, t].item()
            - math.log(usual(alignment, distributions[row, t].exp().tolist()))
            for t in tokens
        ]
        name = int(batch.group[row]), int(batch["preference"][row])
        weight[name] = math.exp(fmean(logs))
        drift[name] = sum((logprobs - batch.ref_logprobs)[row, tokens].tolist())
    pairs = {group for group, _ in weight}
    wrong = {g: 1 / (1 + math.exp(0.3 * (drift[g, 1] - drift[g, -1]))) for g in pairs}
    both = {g: weight[g, 1] * weight[g, -1] for g in pairs}
    expected = fmean(-both[g] * math.log(1 - wrong[g]) for g in pairs)
    assert loss.total.item() == pytest.approx(expected)
    for row, group in enumerate(batch.group.tolist()):
        slope = -0.3 * float(batch["preference"][row]) * both[group] * wrong[group] / len(pairs)
        assert gradient[row][batch.mask[row]].tolist() == pytest.approx(
            [slope] * int(batch.lengths[row])
        )
    assert all(x.grad is None for x in said.values())


@pytest.mark.parametrize("alignment", ["sampled", "greedy"])
def test_a_uniform_policy_is_as_likely_to_write_anything(alignment):
    uniform = torch.full((1, 4), math.log(0.25))
    found = compose("wpo", knobs={"alignment": alignment}).statistics(uniform, None)["usual"]
    assert found.item() == pytest.approx(math.log(0.25))
