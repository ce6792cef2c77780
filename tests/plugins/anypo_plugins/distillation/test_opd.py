import pytest
import torch

from anypo import Batch, compose

TEACHER = [[-1.0, -3.0, -0.5, 0.0], [-2.0, -2.0, 0.0, 0.0]]
OLD = [[-2.0, -1.0, -1.5, 0.0], [-2.0, -2.0, 0.0, 0.0]]


@pytest.mark.parametrize(("name", "knobs"), [("opd", {}), ("iw_opd", {"iw_gamma": 0.0})])
def test_reproduces_the_golden_loss(reproduces_paper, name, knobs):
    reproduces_paper(compose(name, knobs=knobs), "opd")


def test_iw_opd_counts_a_token_by_how_far_both_have_differed_before_it():
    batch = Batch(
        mask=torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]),
        group=torch.tensor([0, 0]),
        teacher_logprobs=torch.tensor(TEACHER, dtype=torch.float64),
        old_logprobs=torch.tensor(OLD, dtype=torch.float64),
    )
    prepared = compose("iw_opd", knobs={"iw_gamma": 0.8}).prepare(batch)
    before = [0, 1 / 4, 3 / 4]  # of 1 + 2 + 1 nats in all
    first = [(1 + 0.8 * (1 - f)) * gap for f, gap in zip(before, [1, -2, 1], strict=True)]
    assert prepared.advantages.tolist() == [pytest.approx([*first, 0]), [0] * 4]
