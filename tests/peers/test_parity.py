"""Training with anypo and with TRL: the same rows in, the same loss, gradient and weights out."""

import pytest
import tables
from peers.case import Differences
from peers.cases import CASES

TRAINING = tables.kept("parity")["training"]
WRITTEN = {row["case"]: row for row in TRAINING}


@pytest.mark.trl
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in CASES])
def test_only_what_is_explained_differs(case, bench):
    differences = bench.measure(case)
    assert differences.rounding == (not case.reason), differences


def test_the_page_has_every_case():
    whys = {case.id: case.reason for case in CASES}
    assert whys == {name: row["why"] for name, row in WRITTEN.items()}
    assert len(whys) == len(CASES)


def test_the_page_explains_every_difference():
    for row in TRAINING:
        differences = Differences(row["loss"], row["gradient"], row["weights"])
        assert differences.rounding != bool(row["why"]), row
