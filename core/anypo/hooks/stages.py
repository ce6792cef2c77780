"""The names of what a plugin may answer. Standard library only, for who reads plugins as text."""

STAGES = ("rollout", "advantage", "ratio", "clip", "regularizer", "weight")
HOOKS = (*STAGES, "distribution", "metrics", "requires")
MERGED = (
    "regularizer",
    "distribution",
    "metrics",
    "requires",
)  # all are asked; elsewhere the topmost one answers
