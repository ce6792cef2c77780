"""What completions to a prompt are worth, found in the rollout and remembered from step to step."""

import hashlib
from dataclasses import replace
from itertools import groupby


def rewards_of(prompts, sampler, scorer, n, **how):
    """The rewards of `n` completions of every prompt, which nothing is learnt from.

    Args:
        prompts: To complete; there may be none.
        sampler: See `anypo.Sampler`.
        scorer: See `anypo.Scorer`.
        n: Completions of each.
        how: They are drawn, such as `greedy=True`.
    """
    samples = scorer(prompts, sampler.sample(prompts, n, **how)) if prompts else []
    groups = groupby(samples, key=lambda sample: sample.group)
    return [[sample.reward for sample in group] for _, group in groups]


def name_of(prompt):
    """What a prompt is called in the state: the same for the same tokens."""
    return hashlib.sha256(repr(prompt.ids).encode()).hexdigest()


def unknown(prompts, known):
    """Those whose names are not known yet, each once, by name."""
    named = {name_of(prompt): prompt for prompt in prompts}
    return {name: prompt for name, prompt in named.items() if name not in known}


def with_column(sample, **columns):
    """The sample, of which more is known."""
    return replace(sample, columns={**sample.columns, **columns})
