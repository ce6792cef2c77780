"""What `anypo run` uses when it is given neither model nor data.

A tiny model that can half add two-digit numbers, and the problems to get better at: made on the
spot, seeded, kept in the user's cache as an ordinary model directory and two JSONL files, and used
through the same code as any other.
"""

from anypo_tasks.addition.build import Embedded, ensure_embedded, is_built_in

__all__ = ["Embedded", "ensure_embedded", "is_built_in"]
