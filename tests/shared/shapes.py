"""Algorithms that ask the core for the same: in the usual tests one stands for all of them.

What is tried so is what surrounds an algorithm's formula, such as the kit and processes; `-m slow`
tries it with every algorithm.
"""

from functools import cache

import pytest
from learning import whole

composed = cache(whole)


def shape(name):
    """What an algorithm, or a modifier on top of grpo, is given and asks for."""
    algorithm = composed(name)
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
