"""Add two-digit numbers: a tiny model that can half do it, and the problems to get better at."""
