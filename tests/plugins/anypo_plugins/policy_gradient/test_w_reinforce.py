import math

import pytest

from anypo import compose


@pytest.mark.parametrize("positive", [0.1, 0.0])
@pytest.mark.parametrize("seed", range(2))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed, positive):
    def by_hand(rows, new, sg):
        counted, total = [row for row in rows if row.tokens], 0.0
        for row in counted:
            a = positive if row.reward > 0 else -1.0
            for t in row.tokens:
                ratio = math.exp(new[row.index][t] - row.old[t])
                total += min(ratio * a, min(max(ratio, 0.8), 1.2) * a) / len(row.tokens)
        return -total / len(counted)

    algorithm = compose("w_reinforce", knobs={"positive": positive})
    agrees_by_hand(algorithm, by_hand, *random_batch(seed))
