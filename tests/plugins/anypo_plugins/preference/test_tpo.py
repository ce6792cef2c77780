import math
from statistics import fmean

import pytest
import torch

from anypo import Prompt, collate, compose
from anypo.hooks.batch import Completion


def by_hand(logps, rows, new, sg):
    """Of three rows a group: chosen, rejected and golden."""
    groups, golden = {}, []
    for row in rows:
        tokens = [new[row.index][t] for t in row.tokens]
        if row.preference:
            logprob = fmean(tokens) if logps == "mean" else sum(tokens)
            groups.setdefault(row.group, {})[row.preference] = logprob
        else:
            golden += tokens
    margins = [pair[1.0] - pair[-1.0] for pair in groups.values()]
    return fmean(math.log(1 + math.exp(0.4 - 0.3 * h)) for h in margins) - 0.5 * fmean(golden)


@pytest.fixture
def triples(random_pairs):
    """Two groups of three, interleaved."""
    logprobs, batch = random_pairs()
    group = torch.tensor([4, 1, 4, 1, 4, 1])
    preference = torch.tensor([1.0, 0.0, -1.0, 1.0, 0.0, -1.0])
    rows = torch.tensor([0, 1, 2, 3, 4, 5])
    return logprobs[rows], batch.rows(rows).replace(group=group, preference=preference)


def test_reproduces_the_golden_numbers(reproduces_paper):
    of_three = {
        "group": torch.tensor([0, 0, 0]),
        "preference": torch.tensor([1.0, -1.0, 0.0]),
    }
    reproduces_paper(compose("tpo"), "tpo", rows=(0, 1, 2), **of_three)


@pytest.mark.parametrize("logps", ["sum", "mean"])
def test_agrees_with_the_equation_worked_by_hand(triples, agrees_by_hand, logps):
    knobs = {"beta": 0.3, "tpo_gamma": 0.4, "sft_coef": 0.5, "logps": logps}
    agrees_by_hand(compose("tpo", knobs=knobs), lambda *rows: by_hand(logps, *rows), *triples)


def test_the_golden_completion_is_in_no_metric(triples):
    logprobs, batch = triples
    algorithm = compose("tpo")
    metrics = algorithm.loss(logprobs, algorithm.prepare(batch)).metrics
    assert {name: int(metrics[name][1]) for name in metrics if name.startswith("rewards/")} == {
        "rewards/chosen": 2,
        "rewards/rejected": 2,
        "rewards/margins": 4,
        "rewards/accuracies": 4,
    }


def test_every_row_gives_three_completions():
    held = {name: Completion([i]) for i, name in enumerate(("chosen", "rejected", "completion"))}
    samples = compose("tpo").rollout([Prompt([9], "", completions=held)], None, None, {})
    assert [s.completion_ids for s in samples] == [[0], [1], [2]]
    assert collate(samples)["preference"].tolist() == [1, -1, 0]
    assert compose("tpo").requires == set()
