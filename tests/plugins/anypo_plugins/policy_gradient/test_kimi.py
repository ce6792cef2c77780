import statistics

import pytest

from anypo import AnypoError, compose


def by_hand(rows, new, sg):
    counted, gain = [row for row in rows if row.tokens], 0.0
    for row in counted:
        advantage = row.reward - statistics.mean(row.mates)
        log_ratio = sum(new[row.index][t] - row.old[t] for t in row.tokens)
        gain += advantage * log_ratio - 0.3 / 2 * log_ratio**2
    return -gain / len(counted)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("kimi", knobs={"tau": 0.3}), by_hand, *random_batch(seed))


def test_the_gradient_vanishes_where_tau_log_r_is_the_advantage(random_batch, loss_and_gradient):
    _, batch = random_batch()
    algorithm = compose("kimi", knobs={"tau": 0.5})
    prepared = algorithm.prepare(batch)
    per_token = prepared.advantages / 0.5 / batch.lengths.clamp(min=1).unsqueeze(-1)
    _, gradient = loss_and_gradient(algorithm, batch.old_logprobs + per_token, prepared)
    assert gradient.abs().max().item() < 1e-12
    _, at_first = loss_and_gradient(algorithm, batch.old_logprobs, prepared)
    assert at_first.abs().max().item() > 1e-3


def test_needs_no_reference():
    assert compose("kimi").requires == {"old_logprobs"}


@pytest.mark.parametrize("knobs", [{"clip_low": 0.1}, {"tau": 0}])
def test_refuses_knobs_without_an_effect_or_out_of_range(knobs):
    with pytest.raises(AnypoError, match=next(iter(knobs))):
        compose("kimi", knobs=knobs)
