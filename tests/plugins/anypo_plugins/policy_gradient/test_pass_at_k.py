import statistics

import pytest
import torch

from anypo import Batch, compose


def test_reproduces_the_loss_of_the_paper(reproduces_paper):
    reproduces_paper(compose("pass_at_k"), "pass@k")


@pytest.mark.parametrize(
    ("rewards", "gaps"),
    [
        ([0.2, 0.9, 0.4], [0, 0.5, 0]),
        ([0.9, 0.9, 0.4], [0, 0, 0]),
        ([0.0, 0.0, 1.0], [0, 0, 1.0]),
        ([0.7, 0.7, 0.7], [0, 0, 0]),
        ([1.0], [0]),
    ],
)
def test_only_a_single_best_one_learns_and_by_its_lead(rewards, gaps):
    batch = Batch(
        mask=torch.ones(len(rewards), 1).bool(),
        group=torch.zeros(len(rewards)).long(),
        rewards=torch.tensor(rewards),
    )
    advantages = compose("pass_at_k").prepare(batch).advantages[:, 0].tolist()
    spread = statistics.stdev(rewards) if any(gaps) else 1.0
    assert advantages == pytest.approx([gap / spread for gap in gaps], abs=1e-5)
