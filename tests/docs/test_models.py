"""The page on models says what the scan found, and the scan found nothing wrong."""

from pathlib import Path

import tables
from tiny_models import KINDS

FOUND = tables.kept("architectures")["models"]


def test_the_page_is_that_of_the_results():
    page = Path(tables.__file__).with_name("models.md").read_text(encoding="utf-8")
    assert tables.models() in page


def test_every_architecture_is_in_it_with_a_result_and_a_reason():
    assert set(FOUND) == set(KINDS)
    assert {row["result"] for row in FOUND.values()} == {"fine", "refused", "not tried"}
    assert all(row["why"] for row in FOUND.values() if row["result"] != "fine")
