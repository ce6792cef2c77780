"""What the rollout stage works with: somebody who samples, somebody who scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from anypo.hooks.batch import Prompt, Sample

POLICY = "policy"  # what draws, unless a rollout names another model


class Sampler(Protocol):
    """Draws completions from the policy."""

    @property
    def max_completion_length(self) -> int:
        """Tokens; a completion that reaches it without an end is truncated."""

    def sample(
        self,
        prompts: Sequence[Prompt],
        n: int,
        *,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        greedy: bool = False,
        model: str = POLICY,
    ) -> list[Sample]:
        """`n` completions of every prompt, prompt by prompt; `group` is the prompt's position.

        They are drawn as the run says, but for what is given. Their `logprobs` are those of the
        distribution really drawn from.

        Args:
            prompts: To complete.
            n: Completions of each.
            temperature: Divides the logits.
            top_p: Only the likeliest tokens of this share of the probability.
            top_k: Only so many of the likeliest tokens.
            greedy: The likeliest token each time.
            model: `policy`, or a model that the algorithm requires, such as `reference`.

        Raises:
            SamplerError: The sampler cannot draw so.
        """

    def followed_by(self, prompt: Prompt, more: str | Sequence[dict[str, Any]]) -> Prompt:
        """A prompt with something behind it, tokenised, and without the row's completions.

        Args:
            prompt: A text, or messages.
            more: A text, with which the prompt's text or its last message goes on; or messages.

        Raises:
            DataError: Messages cannot follow a text, or are none.
        """

    def text(self, sample: Sample) -> str:
        """What a completion says, without special tokens; of a conversation its last message."""


class Scorer(Protocol):
    """Rewards completions."""

    def __call__(self, prompts: Sequence[Prompt], samples: Sequence[Sample]) -> list[Sample]:
        """The samples with `reward` and `scores` filled in; `group` indexes `prompts`."""


@dataclass(frozen=True)
class Inputs:
    """What a rollout makes its samples from."""

    sampler: bool = False  # whether it has the policy complete prompts
    scorer: bool = False  # whether it has completions rewarded
    completions: frozenset[str] = frozenset()  # columns of the data set, read as completions
    columns: frozenset[str] = frozenset()  # further columns that it reads
    otherwise: bool = False  # whether some are drawn in another way than the run says
    fixed: bool = False  # whether a row always gives the completions that it holds, and no others

    @property
    def wanted(self) -> frozenset[str]:
        """The columns of the data set that it reads beside the prompt."""
        return self.completions | self.columns

    def __or__(self, other: "Inputs") -> "Inputs":
        """What two rollouts make theirs from."""
        either = {name: getattr(self, name) | getattr(other, name) for name in vars(self)}
        return Inputs(**{**either, "fixed": self.fixed and other.fixed})


def sample_groups(
    prompts: Sequence[Prompt], sampler: Sampler, scorer: Scorer, group_size: int
) -> list[Sample]:
    """`group_size` scored completions of every prompt."""
    return scorer(prompts, sampler.sample(prompts, group_size))
