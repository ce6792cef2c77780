import math
from statistics import fmean

import pytest
import torch

from anypo import compose


def drift(row, logprobs, reference=True):
    return sum(logprobs[t] - (row.ref[t] if reference else 0) for t in row.tokens)


def pairs_of(rows):
    found = {}
    for row in rows:
        found.setdefault(row.group, {})[row.preference] = row
    return found.values()


def by_hand(rows, new, sg):
    """The i-th margin against the i-th of the reference."""
    mine, reference = [], []
    for pair in pairs_of(rows):
        w, z = pair[1.0], pair[-1.0]
        mine.append(drift(w, new[w.index], False) - drift(z, new[z.index], False))
        reference.append(sum(w.ref[t] for t in w.tokens) - sum(z.ref[t] for t in z.tokens))
    ranked = zip(sorted(mine), sorted(reference), strict=True)
    return fmean(math.log(1 + math.exp(-0.3 * (h - other))) for h, other in ranked)


def by_hand_unpaired(rows, new, sg):
    """The i-th chosen against the i-th rejected one."""
    good, bad = (
        sorted(drift(row, new[row.index]) for row in rows if row.preference == side)
        for side in (1, -1)
    )
    matched = zip(good, bad, strict=True)
    return fmean(math.log(1 + math.exp(-0.3 * (w - z))) for w, z in matched)


@pytest.mark.parametrize("name", ["aot", "aot_unpaired"])
def test_reproduces_the_golden_numbers(reproduces_paper, name):
    reproduces_paper(compose(name), name, now={"logprobs": "logprobs"})


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("name", "formula"), [("aot", by_hand), ("aot_unpaired", by_hand_unpaired)]
)
def test_agrees_with_the_equation_worked_by_hand(random_pairs, agrees_by_hand, name, formula, seed):
    agrees_by_hand(compose(name, knobs={"beta": 0.3}), formula, *random_pairs(seed))


@pytest.mark.parametrize("name", ["aot", "aot_unpaired"])
def test_is_sorted_by_what_the_policy_says_now(random_pairs, name):
    logprobs, batch = random_pairs()
    algorithm = compose(name)
    now, later = (algorithm.prepare(batch, logprobs=x) for x in (logprobs, logprobs.flip(0)))
    assert not now.weights["other"].equal(later.weights["other"])


@pytest.mark.parametrize("name", ["aot", "aot_unpaired"])
def test_sft_touches_the_chosen_rows_only(random_pairs, loss_and_gradient, name):
    logprobs, batch = random_pairs()
    one, other = (
        loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch, logprobs=logprobs))[1]
        for algorithm in (compose(name, knobs={"sft_coef": c}) for c in (0.9, 0.0))
    )
    chosen = batch.mask & (batch["preference"] == 1).unsqueeze(-1)
    torch.testing.assert_close(one - other, torch.where(chosen, -0.9 / chosen.sum(), 0.0).double())


@pytest.mark.parametrize("name", ["aot", "aot_unpaired"])
def test_ranks_are_of_what_is_compared(random_pairs, name):
    logprobs, batch = random_pairs()
    even = batch.replace(mask=torch.ones_like(batch.mask), ref_logprobs=batch.ref_logprobs - 1)
    found = [
        algorithm.prepare(even, logprobs=logprobs - 1).weights["other"]
        for algorithm in (compose(name, knobs={"logps": logps}) for logps in ("sum", "mean"))
    ]
    torch.testing.assert_close(found[0], 6 * found[1])  # of six tokens each
