import torch
from hypothesis import given
from hypothesis import strategies as st

from anypo.models.micro_batches import micro_batches


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(1, 200))
def test_micro_batches_cover_every_row_within_the_budget(lengths, budget):
    parts = [part.tolist() for part in micro_batches(torch.tensor(lengths), budget)]
    assert sorted(row for part in parts for row in part) == list(range(len(lengths)))
    for part in parts:
        padded = len(part) * max(lengths[row] for row in part)
        assert padded <= budget or len(part) == 1
    longest = [max(lengths[row] for row in part) for part in parts]
    assert longest == sorted(longest, reverse=True)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=12), st.integers(1, 30))
def test_micro_batches_keep_units_together(lengths, budget):
    units = [list(range(i, min(i + 2, len(lengths)))) for i in range(0, len(lengths), 2)]
    for part in micro_batches(torch.tensor(lengths), budget, units):
        for unit in units:
            assert len(set(unit) & set(part.tolist())) in (0, len(unit))
