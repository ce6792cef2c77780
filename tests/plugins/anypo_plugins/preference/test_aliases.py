"""Aliases of preference algorithms."""

from anypo import compose


def test_tulu3_compares_mean_log_ratios(reproduces_paper):
    reproduces_paper(compose("tulu3_dpo", knobs={"beta": 0.1}), "tulu3 (dpo mean)")


def test_iterative_rpo_learns_the_chosen_too(reproduces_paper):
    reproduces_paper(compose("iterative_rpo"), "iterative rpo")
