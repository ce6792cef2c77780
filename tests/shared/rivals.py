"""A sampler of several models, whose completions are scripted, and the scorer of these."""

from dataclasses import replace

from anypo import Sample

ENDLESS = 9  # the token of a completion that hits the limit


class Script:
    """Says of each model what it is told to, per prompt, and scores a token by its number / 10."""

    max_completion_length = 1

    def __init__(self, **said):
        self.said = said

    def sample(self, prompts, n, model="policy"):
        assert all(len(tokens) == n for tokens in self.said[model])
        return [
            Sample(prompt.ids, [token], group, logprobs=[-1.0], truncated=token == ENDLESS)
            for group, prompt in enumerate(prompts)
            for token in self.said[model][group]
        ]

    def __call__(self, prompts, samples):
        return [replace(s, reward=s.completion_ids[0] / 10) for s in samples]
