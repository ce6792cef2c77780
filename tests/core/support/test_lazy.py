import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypo.support.lazy import Joined, Picked

LISTS = st.lists(st.lists(st.integers(), max_size=4), max_size=4)


@given(LISTS, st.slices(8))
def test_sequences_one_after_the_other_are_one_sequence(parts, part):
    joined, expected = Joined(parts), [item for items in parts for item in items]
    assert (list(joined), len(joined), joined[part]) == (expected, len(expected), expected[part])
    assert [joined[-1 - place] for place in range(len(expected))] == expected[::-1]
    with pytest.raises(IndexError):
        joined[len(expected)]


@given(st.lists(st.integers(0, 6)))
def test_what_is_picked_is_what_stands_at_the_places(places):
    picked = Picked("abcdefg", places)
    assert list(picked) == ["abcdefg"[place] for place in places]
    assert picked[:2] == list(picked)[:2]


def test_items_are_made_when_they_are_asked_for():
    class Squares(Picked):
        def at(self, place):
            asked.append(place)
            return super().at(place) ** 2

    asked = []
    squares = Squares(range(10), [3, 5, 7])
    assert (squares[-1], asked) == (49, [2])
