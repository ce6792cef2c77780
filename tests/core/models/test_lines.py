from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from anypo.hooks.batch import Sample, collate
from anypo.models.lines import Sharing, cut

CHEAP = Sharing(token=1.0, pair=0.0, up_to=10_000, line=10_000)  # attention costs nothing
DEAR = Sharing(token=1000.0, pair=1.0, up_to=10_000, line=10_000)


def batch_of(*groups):
    """Groups of a prompt's length and those of its completions; prompts of a length differ."""
    random = torch.Generator().manual_seed(1)

    def ids(n):
        return torch.randint(0, 256, (n,), generator=random).tolist()

    return collate(
        [
            Sample(prompt, ids(length), group)
            for group, (prompt_length, lengths) in enumerate(groups)
            for prompt in [ids(prompt_length)]
            for length in lengths
        ]
    )


def lines(batch, sharing, budget=10_000):
    """The rows of every line of every micro-batch, uncoupled."""
    found = []
    for part in cut(batch, [[row] for row in range(len(batch))], budget, sharing):
        rows, line = part.rows, part.line
        numbers = range(len(rows)) if line is None else line.tolist()
        of_part = {}
        for number, row in zip(numbers, rows.tolist(), strict=True):
            of_part.setdefault(number, []).append(row)
        found.append(sorted(of_part.values()))
    return found


def test_rows_share_a_line_where_prompts_are_long():
    assert lines(batch_of((200, [8] * 8)), DEAR) == [[list(range(8))]]


def test_and_not_where_completions_are():
    assert lines(batch_of((2, [2000] * 3)), DEAR) == [[[0], [1], [2]]]


def test_unless_a_completion_is_not_compared_with_the_others():
    by_parts = replace(DEAR, by_parts=True)
    batch = batch_of((600, [600] * 4))
    assert lines(batch, DEAR) == [[[0], [1], [2], [3]]]
    assert lines(batch, by_parts) == [[[0, 1, 2, 3]]]


@pytest.mark.parametrize(
    ("prompt", "own", "rows", "pays"), [(4000, 4, 256, False), (1500, 500, 8, True)]
)
def test_parts_pay_where_completions_are_long_or_few(prompt, own, rows, pays):
    batch, can = batch_of((prompt, [own] * rows)), replace(CHEAP, by_parts=True)
    for sharing, expected in ((can, pays), (CHEAP, False)):
        (part,) = cut(batch, [[row] for row in range(rows)], 10_000, sharing)
        assert part.line.tolist() == [0] * rows
        assert part.by_parts is expected


def test_nor_where_the_model_cannot():
    assert lines(batch_of((200, [8] * 2)), None) == [[[0], [1]]]


def test_lines_make_up_for_rows_of_unequal_length():
    unequal, equal = batch_of((1, [1, 9]), (1, [9, 1])), batch_of((1, [5, 5]), (1, [5, 5]))
    costs = Sharing(token=50.0, pair=1.0, up_to=100, line=100)
    assert lines(unequal, costs) == [[[0, 1], [2, 3]]]
    assert lines(equal, costs) == [[[0], [1], [2], [3]]]


def test_a_line_of_several_has_no_more_tokens_than_the_budget():
    assert lines(batch_of((10, [10] * 4)), CHEAP, 30) == [[[0, 1]], [[2, 3]]]


def test_nor_than_a_line_that_was_tried_while_others_still_share():
    costs = Sharing(token=1.0, pair=0.0, up_to=100, line=30)
    batch = batch_of((10, [10] * 3), (25, [9]))
    assert lines(batch, costs) == [[[0, 1], [2], [3]]]


def test_longer_rows_than_were_tried_stay_alone():
    tried = Sharing(token=1.0, pair=0.0, up_to=12, line=100)
    assert lines(batch_of((10, [3, 2, 2])), tried) == [[[0], [1, 2]]]


def test_of_no_rows_there_is_no_micro_batch():
    assert list(cut(batch_of((1, [1])), [], 10, CHEAP)) == []


@given(
    st.lists(
        st.tuples(st.integers(1, 4), st.lists(st.integers(0, 5), min_size=1, max_size=5)),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 40),
    st.booleans(),
)
def test_micro_batches_hold_every_row_once_and_keep_units_and_lines_together(
    groups, budget, coupled
):
    batch = batch_of(*groups)
    rows = list(range(len(batch)))
    units = [[r for r in rows if batch.group[r] == g] for g in range(len(groups))]
    units = units if coupled else [[row] for row in rows]
    parts = list(cut(batch, units, budget, CHEAP))
    assert sorted(row for part in parts for row in part.rows.tolist()) == rows
    for part in parts:
        held = set(part.rows.tolist())
        assert all(held >= set(unit) or not held & set(unit) for unit in units)
        if part.line is not None:
            prompts = [
                batch.input_ids[row, : batch.prompt_lengths[row]].tolist() for row in part.rows
            ]
            lines = {
                (number, *ids) for number, ids in zip(part.line.tolist(), prompts, strict=True)
            }
            assert len(lines) == part.line.max() + 1
