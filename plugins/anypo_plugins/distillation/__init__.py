"""Algorithms that have a teacher."""
