import math

import pytest

from anypo import AnypoError, compose


def by_hand(rows, new, sg):
    counted, gain = [row for row in rows if row.tokens], 0.0
    for row in counted:
        middle = (max(row.mates) + min(row.mates)) / 2
        sign = (row.reward > middle) - (row.reward < middle)
        for t in row.tokens:
            ratio = math.exp(new[row.index][t] - row.old[t])
            gain += min(ratio * sign, min(max(ratio, 0.8), 1.2) * sign) / len(row.tokens)
    return -gain / len(counted)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    agrees_by_hand(compose("reinforce_rej"), by_hand, *random_batch(seed))


def test_groups_all_right_or_all_wrong_are_dropped(deal):
    rewards = iter([1.0, 1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    algorithm = compose("reinforce_rej", knobs={"group_size": 2})
    samples, _ = deal(algorithm, ["a", "b", "c", "d"], lambda *_: next(rewards))
    assert [sample.group for sample in samples] == [2, 2, 3, 3]


def test_right_and_wrong_count_the_same_however_many_there_are(paper_batch):
    _, batch = paper_batch()
    batch = batch.replace(group=batch.group * 0, rewards=batch.rewards.new_tensor([0, 0, 1, 0]))
    advantages = compose("reinforce_rej").prepare(batch).advantages[:, 0]
    assert advantages.tolist() == [-1, -1, 1, -1]


def test_needs_no_reference_and_groups():
    assert compose("reinforce_rej").requires == {"old_logprobs"}
    with pytest.raises(AnypoError, match="group_size"):
        compose("reinforce_rej", knobs={"group_size": 1})
