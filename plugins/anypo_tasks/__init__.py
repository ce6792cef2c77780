"""The built-in task and the built-in rewards."""
