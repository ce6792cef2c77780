"""Algorithms that sample, score, and follow the gradient of what scored well."""
