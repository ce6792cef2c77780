"""Algorithms that learn what rows of a data set say."""
