"""Algorithms that ask the core for the same: in the usual tests one stands for all of them.

What is tried here are the parts around an algorithm, such as processes; `-m slow` tries all of
them with every algorithm. That each keeps the rules is tried in `tests/core/testing`.
"""

import pytest
from learning import whole


def shape(name):
    """What an algorithm, or a modifier on top of grpo, is given and asks for."""
    algorithm = whole(name)
    found = algorithm.findings
    asked = found.prepare_requires, found.loss_requires, found.statistics
    return found.inputs, *asked, algorithm.couples_groups


def first_of_each(names):
    """Of every shape, the first name."""
    return list({shape(name): name for name in reversed(names)}.values())[::-1]


def of_each(names):
    """All names, as parameters of a test: those whose shape another one stands for are slow."""
    usual = first_of_each(names)
    return [pytest.param(n, marks=[] if n in usual else pytest.mark.slow) for n in names]
