import pytest
import torch

from anypo import AnypoError, compose


def by_hand(rows, new, sg):
    gains = [
        (row.reward - sum(row.mates) / len(row.mates)) * new[row.index][t]
        for row in rows
        for t in row.tokens
    ]
    unequal = sum(max(row.mates) > min(row.mates) for row in rows)
    return -len(rows) / unequal * sum(gains) / len(gains)


def test_reproduces_the_loss_of_the_paper(reproduces_paper):
    reproduces_paper(compose("gpg"), "gpg")


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("gpg"), by_hand, *random_batch(seed))


def test_a_batch_in_which_nothing_differs_teaches_nothing(random_batch):
    _, batch = random_batch()
    equal = batch.replace(rewards=torch.ones(len(batch)))
    assert not compose("gpg").prepare(equal).advantages.any()


def test_needs_no_log_probs_of_the_policy_that_sampled():
    assert compose("gpg").requires == set()
    with pytest.raises(AnypoError, match="clip_low"):
        compose("gpg", knobs={"clip_low": 0.1})
