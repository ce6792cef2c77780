"""Data sets: read, brought into the format that an algorithm wants, and tokenised."""
