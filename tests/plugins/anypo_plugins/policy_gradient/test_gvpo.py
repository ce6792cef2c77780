import statistics

import pytest

from anypo import AnypoError, compose


def by_hand(rows, new, sg):
    """The squared distance of centred implicit and given rewards, over 2 tau, less a constant."""
    counted, loss = [row for row in rows if row.tokens], 0.0
    log_ratio = {row.index: sum(new[row.index][t] - row.old[t] for t in row.tokens) for row in rows}
    for row in counted:
        apart = log_ratio[row.index] - statistics.mean(
            log_ratio[other.index] for other in rows if other.group == row.group
        )
        advantage = row.reward - statistics.mean(row.mates)
        size = len(row.mates)
        gain = advantage * log_ratio[row.index] - 0.3 / 2 * apart**2
        loss -= gain * (size / (size - 1) if size > 1 else 1)
    return loss / len(counted)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("gvpo", knobs={"tau": 0.3}), by_hand, *random_batch(seed))


def test_is_the_mean_squared_distance_of_centred_rewards(paper_batch):
    logprobs, batch = paper_batch()
    algorithm = compose("gvpo", knobs={"tau": 0.3})
    at, total = {}, 0.0
    for row in range(4):
        kept = batch.mask[row]
        at[row] = 0.3 * float((logprobs[row] - batch.old_logprobs[row])[kept].sum())
    rewards = batch.rewards.tolist()
    for pair in ((0, 1), (2, 3)):
        for row in pair:
            implicit = at[row] - sum(at[i] for i in pair) / 2
            given = rewards[row] - sum(rewards[i] for i in pair) / 2
            total += (implicit - given) ** 2 - given**2
    loss = algorithm.loss(logprobs, algorithm.prepare(batch)).total
    assert loss.item() == pytest.approx(total / (2 * 0.3) / 4 * 2)


def test_a_change_that_a_group_has_in_common_costs_nothing(paper_batch):
    logprobs, batch = paper_batch()
    algorithm = compose("gvpo")
    prepared = algorithm.prepare(batch)
    moved = logprobs + 0.4 / batch.lengths.unsqueeze(-1)
    losses = [algorithm.loss(x, prepared).total.item() for x in (logprobs, moved)]
    assert losses[0] == pytest.approx(losses[1])


def test_refuses_knobs_without_an_effect():
    with pytest.raises(AnypoError, match="clip_high"):
        compose("gvpo", knobs={"clip_high": 0.1})
