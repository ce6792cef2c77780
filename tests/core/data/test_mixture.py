import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypo.data.mixture import Mixture, Part, parts_of, shares_of
from anypo.errors import ConfigError
from anypo.hooks.batch import Prompt

SIZES = st.lists(st.integers(1, 5), min_size=1, max_size=5)
WEIGHTS = st.floats(0.01, 10)


def mixture(sizes, weights, seed=0):
    """Of data sets of so many prompts, each named by its set and place."""
    sets = [[Prompt([i], (name, i)) for i in range(n)] for name, n in enumerate(sizes)]
    parts = [Part(str(name), weight) for name, weight in enumerate(weights)]
    return Mixture(sets, shares_of(parts), seed)


@st.composite
def mixtures(draw):
    sizes = draw(SIZES)
    weights = draw(st.lists(WEIGHTS, min_size=len(sizes), max_size=len(sizes)))
    return sizes, weights, draw(st.integers(0, 2**32 - 1))


# -- what is drawn -------------------------------------------------------------------------------


@given(mixtures(), st.integers(1, 40))
def test_each_data_set_has_its_share_of_any_number_drawn(given, n):
    mixed, others = mixture(*given), len(given[0]) - 1
    names = [prompt.content[0] for prompt in mixed.draw(n)]
    for name, share in enumerate(mixed.shares):
        assert -others - 1e-6 <= names.count(name) - n * share < 1
    assert mixed.drawn == [names.count(name) for name in range(len(mixed.shares))]


@given(mixtures(), st.lists(st.integers(0, 9), max_size=4), st.integers(1, 9))
def test_a_mixture_goes_on_from_the_numbers_drawn(given, sizes, more):
    whole = mixture(*given).draw(sum(sizes) + more)
    before, after = mixture(*given), mixture(*given)
    assert [prompt for n in sizes for prompt in before.draw(n)] == whole[: sum(sizes)]
    after.drawn = json.loads(json.dumps(before.drawn))
    assert after.draw(more) == whole[sum(sizes) :]


@given(mixtures())
def test_of_every_data_set_all_prompts_come_before_any_comes_again(given):
    drawn = [prompt.content for prompt in mixture(*given).draw(30)]
    for name, size in enumerate(given[0]):
        places = [place for part, place in drawn if part == name]
        for start in range(0, len(places) - size + 1, size):
            assert sorted(places[start : start + size]) == list(range(size))


def test_data_sets_of_one_size_have_orders_of_their_own():
    drawn = [prompt.content for prompt in mixture([50, 50], [1, 1]).draw(100)]
    assert [place for name, place in drawn if name] != [place for name, place in drawn if not name]


def test_all_prompts_are_at_hand():
    assert [p.content for p in mixture([2, 1], [1, 1]).prompts] == [(0, 0), (0, 1), (1, 0)]


# -- what is named -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("specs", "parts"),
    [
        (["a.jsonl"], [("a.jsonl", None)]),
        (["a.jsonl=0.7", "b.jsonl=.3"], [("a.jsonl", 0.7), ("b.jsonl", 0.3)]),
        (["me/set:train=2", "b=1"], [("me/set:train", 2.0), ("b", 1.0)]),
        (["date=2024/a.jsonl", "b=c"], [("date=2024/a.jsonl", None), ("b=c", None)]),
        (["lr=0.1/a.jsonl=2"], [("lr=0.1/a.jsonl", 2.0)]),
        (["=3"], [("=3", None)]),
    ],
)
def test_a_share_follows_the_name(specs, parts, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert parts_of(specs) == parts


def test_what_exists_under_the_whole_name_is_meant_by_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fold=3").mkdir()
    assert parts_of(["fold=3"]) == [("fold=3", None)]
    assert parts_of(["fold=3=0.5"]) == [("fold=3", 0.5)]
    assert parts_of(["fold=3.0"]) == [("fold", 3.0)]


@pytest.mark.parametrize(
    ("specs", "words"),
    [
        (["a=1", "b"], "'b' has no share, but others have: write b=SHARE, or leave out all shares"),
        (["a=0"], "'a=0': a share is a number above 0; leave out what has none"),
        (["a=-1"], "'a=-1': a share is a number above 0"),
        (["a=nan"], "'a=nan': a share is a number above 0"),
        (["a=inf"], "'a=inf': a share is a number above 0"),
        (["a", "a"], "data set 'a' is named twice"),
        (["a=1", "a=2"], "data set 'a' is named twice"),
    ],
)
def test_what_makes_no_sense_is_refused(specs, words):
    with pytest.raises(ConfigError, match=words):
        parts_of(specs)


def test_shares_add_up_to_1():
    assert shares_of([Part("a", 3.0), Part("b", 1.0)]) == [0.75, 0.25]
    assert shares_of([Part("a"), Part("b")]) is None
