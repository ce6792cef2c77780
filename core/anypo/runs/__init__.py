"""A whole run: its options, what it is set up from, what it leaves."""
