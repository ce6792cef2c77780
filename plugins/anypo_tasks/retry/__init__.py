"""Add two-digit numbers in at most two tries, told after the first which columns are wrong."""
