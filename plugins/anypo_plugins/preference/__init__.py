"""Algorithms that learn which of two completions is better, or which one is good."""
