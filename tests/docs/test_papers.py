"""The page of papers says of every algorithm what its code and its tests say."""

import papers
import pytest

from anypo.hooks import registry

BUILT_IN = {entry.name for entry in registry.entries() if entry.distribution == "anypo"}


class Counted:
    """A class of four lines.

    Of which these are none.
    """

    one = 1  # and a half

    # nor is this
    def two(self):
        """It has three."""
        return """a

        text"""


def test_lines_are_those_of_code():
    assert papers.lines(Counted) == 4


def test_the_source_of_an_alias_is_its_own():
    assert "2505.07291" in papers.sources(registry.load("intellect2"))
    assert papers.sources(registry.load("dapo")).startswith("Yu et al. 2025, arXiv:2503.14476")


def test_every_algorithm_has_a_row_and_a_source():
    rows = [line for line in papers.papers().splitlines() if line.startswith("| ")][1:]
    cells = [row.removeprefix("| ").split(" | ") for row in rows]
    assert {name.split("`")[1] for _, name, *_ in cells} == BUILT_IN
    assert all(paper for paper, *_ in cells)
    assert [name for _, name, *_, agrees in cells if agrees.rstrip(" |") == "-"] == []


def test_golden_cases_are_found_in_the_tests():
    found = papers.in_tests(papers.GOLDEN)
    assert found["dapo"][:1] == ["dapo.loss"]
    assert set(found["ipo"]) == {"ipo.loss_mean", "ipo.loss_sum"}  # the name is put together
    assert {"cispo.loss", "stack.drgrpo_cispo"} <= set(found["cispo"])
    assert found["tulu3_dpo"] == ["tulu3 (dpo mean)"]
    assert (found["apo_zero"], found["apo_down"]) == (["apo_zero"], ["apo_down"])  # of one test
    assert found.keys() <= BUILT_IN
    assert {case for cases in found.values() for case in cases} <= papers.known_cases()


def test_what_is_worked_out_by_hand_is_found_in_the_tests():
    assert {"gkd", "kd", "bco", "tis"} <= papers.in_tests(papers.BY_HAND).keys()
    rolled_out = papers.in_tests(papers.ROLLED_OUT).keys()
    assert {"ssd", "rft", "replay_buffer"} <= rolled_out  # the topmost of a stack
    assert not {"grpo", "gkd"} & rolled_out


@pytest.mark.parametrize(("name", "is_known"), [("gspo", True), ("gfpo", False), ("tis", True)])
def test_trainings_like_those_of_trl_are_counted(name, is_known):
    assert (papers.with_trl().get(name, 0) > 0) == is_known
