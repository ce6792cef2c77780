"""Multiply two-digit numbers, which takes the tool that is there for it."""
