"""Completions: who samples them, and the sampler that is always there."""
