"""Draw from the prompts of a data set."""

from collections.abc import Sequence

import torch

from anypo.hooks.batch import Prompt


class PromptStream:
    """Prompts without end, shuffled anew each time all have been drawn.

    The order is a function of the seed and of how many were drawn, so nothing else needs saving.
    """

    def __init__(self, prompts: Sequence[Prompt], seed: int) -> None:
        self.prompts, self.seed, self.drawn = prompts, seed, 0
        self._epoch, self._order = -1, torch.empty(0)

    def draw(self, n: int) -> list[Prompt]:
        """The next `n` prompts."""
        return [self._next() for _ in range(n)]

    def _next(self) -> Prompt:
        epoch, position = divmod(self.drawn, len(self.prompts))
        if epoch != self._epoch:
            random = torch.Generator().manual_seed(self.seed * 1_000_003 + epoch)
            self._order = torch.randperm(len(self.prompts), generator=random)
            self._epoch = epoch
        self.drawn += 1
        return self.prompts[int(self._order[position])]
