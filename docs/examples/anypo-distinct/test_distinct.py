import pytest
import torch
from anypo import Sample, collate, compose
from anypo.testing import Conformance

from anypo_distinct import Distinct, overlap


class TestConformance(Conformance):
    plugin = Distinct


def batch_of(*rows):
    """Of (group, completion, reward)."""
    return collate([Sample([9, 9], list(said), group, reward) for group, said, reward in rows])


def test_copies_are_those_of_one_group_also_by_way_of_others():
    rows = (0, b"abcdefg", 1.0), (0, b"abcdefx", 0.0), (0, b"abcdyfx", 0.0), (0, b"zzzz", 0.0)
    batch = batch_of(*rows, (1, b"abcdefg", 1.0))
    assert overlap({"ab", "bc"}, {"bc", "cd"}) == pytest.approx(1 / 3)
    assert Distinct(distinct_overlap=0.6).copies(batch) == [2, 2, 1, 1, 1]
    assert Distinct(distinct_overlap=0.5).copies(batch) == [3, 3, 3, 1, 1]
    assert Distinct(distinct_overlap=1.0).copies(batch) == [1, 1, 1, 1, 1]


def test_what_the_policy_did_not_write_is_not_compared():
    masks = [True, True, False, False], [True, True, False, False, False]
    said = [1, 2, 3, 4], [1, 2, 7, 8, 9]
    samples = [Sample([5], s, 0, 1.0, mask=m) for s, m in zip(said, masks, strict=True)]
    assert Distinct().copies(collate(samples)) == [2, 2]


def test_copies_share_what_one_of_them_would_get():
    batch = batch_of((0, b"aa", 1.0), (0, b"aa", 1.0), (0, b"bb", 0.0))
    plain = compose("dr_grpo").prepare(batch).advantages
    shared = compose("dr_grpo", Distinct).prepare(batch).advantages
    assert torch.equal(shared, plain / torch.tensor([[2.0], [2.0], [1.0]]))
