"""The names of what a plugin may answer. Standard library only, for who reads plugins as text."""

STAGES = ("rollout", "advantage", "ratio", "clip", "regularizer", "weight")
HOOKS = (*STAGES, "distribution", "metrics", "requires")
# Of these all are asked; elsewhere the topmost one answers.
MERGED = ("regularizer", "distribution", "metrics", "requires")
