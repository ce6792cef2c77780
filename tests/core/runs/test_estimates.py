"""The estimates are what their definitions say, worked out in the long way."""

from collections import Counter
from itertools import combinations
from math import comb, sqrt
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anypo.runs.estimates import best_of, majority, over_prompts, sizes

rewards = st.lists(st.floats(-10, 10), min_size=1, max_size=7)
of_right = st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=9)


@given(rewards, st.data())
def test_the_best_of_k_is_the_mean_over_all_subsets(scores, data):
    k = data.draw(st.integers(1, len(scores)))
    expected = fmean(max(some) for some in combinations(scores, k))
    assert best_of(k, scores) == pytest.approx(expected, abs=1e-9)


@given(of_right, st.data())
def test_of_right_and_wrong_ones_it_is_the_estimator_of_chen_et_al(scores, data):
    n, c = len(scores), int(sum(scores))
    k = data.draw(st.integers(1, n))
    assert best_of(k, scores) == pytest.approx(1 - comb(n - c, k) / comb(n, k), abs=1e-12)


def test_pass_at_k_does_not_depend_on_how_many_are_drawn():
    """Unbiased: over all outcomes of n draws, its mean is that a k-fold draw passes."""
    p, k = 0.3, 2
    for n in (2, 3, 5):
        outcomes = ((c, comb(n, c) * p**c * (1 - p) ** (n - c)) for c in range(n + 1))
        mean = sum(share * best_of(k, [1.0] * c + [0.0] * (n - c)) for c, share in outcomes)
        assert mean == pytest.approx(1 - (1 - p) ** k)


def test_many_completions_overflow_nothing():
    assert best_of(1000, [0.0] * 1000 + [1.0] * 1000) == pytest.approx(1)
    assert best_of(1, [0.0] * 1000 + [1.0] * 1000) == pytest.approx(0.5)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=20))
def test_the_error_is_that_of_a_mean_of_independent_values(values):
    n = len(values)
    mean = sum(values) / n
    variance = sum((value - mean) ** 2 for value in values) / (n - 1)
    found = over_prompts(values)
    assert found.value == pytest.approx(mean, abs=1e-9)
    assert found.error == pytest.approx(sqrt(variance / n), abs=1e-9)


@given(st.lists(of_right.map(lambda row: (row * 9)[:6]), min_size=2, max_size=12))
def test_the_error_is_clustered_by_prompt(rows):
    """As the sandwich estimator has it, with a cluster for every prompt, and n - 1 for n."""
    every, prompts, n = [x for row in rows for x in row], len(rows), 6
    mean = fmean(every)
    clusters = sum(sum(x - mean for x in row) ** 2 for row in rows) / (prompts * n) ** 2
    expected = sqrt(clusters * prompts / (prompts - 1))
    assert over_prompts([fmean(row) for row in rows]).error == pytest.approx(expected, abs=1e-12)


def test_one_prompt_tells_no_error():
    assert over_prompts([0.5]) == (0.5, None)


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abc")), min_size=1, max_size=8))
def test_the_majority_is_what_most_say_and_a_tie_is_drawn(said):
    scores, answers = zip(*said, strict=True)
    votes = Counter(answers)
    leading = [answer for answer in votes if votes[answer] == max(votes.values())]
    of_each = [fmean(s for s, a in said if a == answer) for answer in leading]
    assert majority(scores, answers) == pytest.approx(fmean(of_each))


def test_those_without_an_answer_can_be_the_majority():
    assert majority([1.0, 0.0, 0.0], ["4", None, None]) == 0.0
    assert majority([1.0, 1.0, 0.0], ["4", "4", None]) == 1.0


@pytest.mark.parametrize(("n", "ks"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8])])
def test_k_doubles_up_to_the_number_of_completions(n, ks):
    assert sizes(n) == ks
