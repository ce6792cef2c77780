"""Whole runs, of anypo and of TRL, and what their steps take."""
