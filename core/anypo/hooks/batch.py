"""What flows through a step: prompts become samples, samples become a batch.

Shapes: P prompts, G completions per prompt, N = rows (completions), T = longest completion in the
batch, L = longest prompt + completion, in tokens. Log-probs are in nats, at the sampling
temperature.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anypo.errors import AnypoError
from anypo.hooks.requirements import REQUIRED_FOR, REQUIREMENTS
from anypo.support.here import Here


@dataclass(frozen=True)
class Completion:
    """A completion that comes with a row of a data set."""

    ids: list[int]  # with the end-of-sequence token, unless it was cut
    mask: list[bool] | None = None  # which tokens to learn from; None: all
    truncated: bool = False  # whether it was longer than allowed


@dataclass(frozen=True)
class Prompt:
    """One row of a data set, tokenised."""

    ids: list[int]  # tokens
    content: Any  # a string, or a list of {"role", "content"} messages: what rewards are given
    columns: dict[str, Any] = field(default_factory=dict)  # the row's other columns
    completions: dict[str, Completion] = field(default_factory=dict)  # those it holds, tokenised

    def sample(self, column: str, group: int, **columns: float) -> "Sample":
        """The completion that the row holds in a column, as if it had been sampled.

        Args:
            column: Such as `completion`, `chosen` or `rejected`.
            group: See `Sample`.
            columns: What else is known of it, such as `preference=-1.0`.
        """
        held = self.completions[column]
        return Sample(
            self.ids, held.ids, group, mask=held.mask, truncated=held.truncated, columns=columns
        )


@dataclass(frozen=True)
class Sample:
    """One completion and all that is known of it. Token ids are the sampler's own."""

    prompt_ids: list[int]  # tokens
    completion_ids: list[int]  # with the end-of-sequence token, if there was one
    group: int  # which of the step's prompts it answers
    reward: float | None = None  # what is optimised; None until scored
    scores: dict[str, float] = field(default_factory=dict)  # raw, by name of the reward function
    score_weights: dict[str, float] = field(default_factory=dict)  # of each in the reward
    mask: list[bool] | None = None  # which completion tokens the policy wrote; None: all
    teacher_prompt_ids: list[int] | None = None  # what the teacher reads in place of the prompt
    logprobs: list[float] | None = None  # the sampler's own, of the distribution sampled from
    truncated: bool = False  # whether it hit the length limit before an end-of-sequence token
    columns: dict[str, Any] = field(default_factory=dict)  # numbers, or a list of one per token
    feedback: str = ""  # what was said of it in words
    asked: list[dict[str, Any]] | None = None  # the prompt of a conversation, as it was opened
    messages: list[dict[str, Any]] | None = None  # and what follows it, up to the last reply
    figures: dict[str, float] = field(default_factory=dict)  # whose means are metrics, by name
    environment: Here | None = None  # which answered, for reward functions

    @property
    def length(self) -> int:
        """Tokens that the policy wrote."""
        return len(self.completion_ids) if self.mask is None else sum(self.mask)

    def asked_in(self, prompt: Prompt) -> Prompt:
        """The prompt that it answers, as its environment opened it."""
        return prompt if self.asked is None else replace(prompt, content=self.asked)


ENVIRONMENT = "environment"  # what the rewards of turns are called among those of functions


def step_columns(length: int, steps: Sequence[tuple[int, float]]) -> dict[str, list[float]]:
    """Rewards of steps as columns: the reward, and a 1, at each token that ends a step.

    Args:
        length: Of the completion, in tokens.
        steps: (index of the last token, reward) of every step.
    """
    rewards, ends = [0.0] * length, [0.0] * length
    for end, reward in steps:
        rewards[end], ends[end] = reward, 1.0
    return {"step_rewards": rewards, "step_ends": ends}


SEQUENCES = ("input_ids", "prompt_lengths", "sequence_lengths")


class MissingTensorError(AttributeError):
    """A hook read a tensor that this batch does not hold."""


class Batch:
    """The samples of a step as tensors of N rows; also `batch["name"]`.

    Floating tensors of shape [N, T] are set to exact zeros at masked positions, so no hook ever
    sees padding. A batch is never changed in place: `replace` and `rows` return new ones.
    """

    mask: Bool[Tensor, "N T"]  # the completion tokens the policy wrote, end of sequence included
    group: Int[Tensor, " N"]  # rows that answer one prompt share a number
    rewards: Float[Tensor, " N"]  # what is optimised
    truncated: Bool[Tensor, " N"]  # hit the length limit before an end-of-sequence token
    old_logprobs: Float[Tensor, "N T"]  # under the policy that sampled, computed by the trainer
    sampler_logprobs: Float[Tensor, "N T"]  # the same, as the sampler reported them
    ref_logprobs: Float[Tensor, "N T"]  # under the frozen reference model
    teacher_logprobs: Float[Tensor, "N T"]  # under the teacher, after the prompt that it reads
    old_entropy: Float[Tensor, "N T"]  # of the policy's distribution before the update, in nats
    values: Float[Tensor, "N T"]  # the critic's estimates at rollout time, before each token
    advantages: Float[Tensor, "N T"]  # what the advantage stage made of it
    input_ids: Int[Tensor, "N L"]  # prompt and completion, padded on the right
    prompt_lengths: Int[Tensor, " N"]  # tokens
    sequence_lengths: Int[Tensor, " N"]  # prompt + completion

    def __init__(
        self,
        *,
        mask: Bool[Tensor, "N T"],
        max_completion_length: int | None = None,
        scores: Mapping[str, Float[Tensor, " N"]] | None = None,
        score_weights: Mapping[str, float] | None = None,
        weights: Mapping[str, Float[Tensor, "N T"]] | None = None,
        **tensors: Tensor,
    ) -> None:
        self.mask = mask.bool()
        self.max_completion_length = max_completion_length or mask.shape[1]
        self.scores = {k: self._checked(k, v) for k, v in (scores or {}).items()}  # raw, by reward
        self.score_weights = dict(score_weights or dict.fromkeys(self.scores, 1.0))
        self.weights = {k: self._checked(k, v) for k, v in (weights or {}).items()}  # by loss term
        self.tensors = {name: self._checked(name, x) for name, x in tensors.items()}

    def _checked(self, name: str, x: Tensor) -> Tensor:
        if x.shape[:1] != self.mask.shape[:1]:
            raise AnypoError(f"batch tensor '{name}' has {len(x)} rows, the mask has {len(self)}")
        hides_padding = x.shape == self.mask.shape and x.is_floating_point()
        return torch.where(self.mask, x, 0) if hides_padding else x

    def __len__(self) -> int:
        return len(self.mask)

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self.tensors[name]
        except KeyError:
            raise MissingTensorError(
                f"the batch holds no '{name}', only {', '.join(sorted(self))}; {_advice(name)}"
            ) from None

    def __getattr__(self, name: str) -> Tensor:
        if name.startswith("__") or name == "tensors":  # copy and pickle probe a bare object
            raise AttributeError(name)
        return self[name]

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    @property
    def lengths(self) -> Int[Tensor, " N"]:
        """Tokens the policy wrote, per row."""
        return self.mask.sum(-1)

    def replace(self, **changes: Any) -> "Batch":
        """The same batch with some tensors (or `mask`, `scores`, …) new or replaced."""
        kept = ("mask", "max_completion_length", "scores", "score_weights", "weights")
        fields = {name: getattr(self, name) for name in kept}
        return type(self)(**{**fields, **self.tensors, **changes})

    def taught(self) -> "Batch":
        """The batch as the teacher reads it: with prompts of its own, where samples name some."""
        own = {name: self.tensors.get(f"teacher_{name}", self.tensors[name]) for name in SEQUENCES}
        return self.replace(**own)

    def rows(self, index: Int[Tensor, " n"]) -> "Batch":
        """The batch of the rows at `index`, every tensor sliced alike."""
        return self._each(lambda x: x[index])

    def to(self, device: torch.device) -> "Batch":
        """The batch with every tensor on `device`."""
        return self._each(lambda x: x.to(device))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Batch":
        return self.replace(
            mask=change(self.mask),
            scores={name: change(x) for name, x in self.scores.items()},
            weights={name: change(x) for name, x in self.weights.items()},
            **{name: change(x) for name, x in self.tensors.items()},
        )


def _advice(missing: str) -> str:
    """What to do where a tensor is missing."""
    if missing not in REQUIRED_FOR:
        return "a stage before this one or a reward function would have to provide it"
    required = REQUIRED_FOR[missing]
    if REQUIREMENTS[required].said_by == "sampler":
        return "the completions were not drawn by a sampler that reports them"
    return f"a plugin that reads it only at times names '{required}' in its `requires` hook"


def collate(samples: Sequence[Sample], *, max_completion_length: int | None = None) -> Batch:
    """The batch of the given samples, one row each, in order."""
    first = samples[0]
    width = max(1, *(len(s.completion_ids) for s in samples))
    extra: dict[str, Any] = {name: _column(samples, name, width) for name in first.columns}
    if any(s.reward is not None for s in samples):
        extra["rewards"] = torch.tensor([_reward(s) for s in samples])
    if all(s.logprobs is not None for s in samples):
        extra["sampler_logprobs"] = _padded([s.logprobs or [] for s in samples], width, 0.0)
    extra |= _sequences([s.prompt_ids for s in samples], samples)
    if any(s.teacher_prompt_ids is not None for s in samples):
        prompts = [s.teacher_prompt_ids or s.prompt_ids for s in samples]
        extra |= {f"teacher_{name}": x for name, x in _sequences(prompts, samples).items()}
    return Batch(
        mask=_padded([s.mask or [True] * len(s.completion_ids) for s in samples], width, False),
        max_completion_length=max_completion_length,
        scores={k: torch.tensor([float(s.scores[k]) for s in samples]) for k in first.scores},
        score_weights=first.score_weights,
        group=torch.tensor([s.group for s in samples]),
        truncated=torch.tensor([s.truncated for s in samples]),
        **extra,
    )


def _reward(sample: Sample) -> float:
    if sample.reward is None:
        raise AnypoError("a sample came out of the rollout without a reward; call the scorer")
    return float(sample.reward)


def _sequences(prompts: Sequence[list[int]], samples: Sequence[Sample]) -> dict[str, Tensor]:
    """Prompts, each with the completion of a sample."""
    rows = [prompt + s.completion_ids for prompt, s in zip(prompts, samples, strict=True)]
    lengths = [len(row) for row in rows]
    tensors = _padded(rows, max(lengths), 0), *map(torch.tensor, ([*map(len, prompts)], lengths))
    return dict(zip(SEQUENCES, tensors, strict=True))


def _padded(rows: Sequence[list[Any]], width: int, filler: Any) -> Tensor:
    return torch.tensor([row + [filler] * (width - len(row)) for row in rows])


def _column(samples: Sequence[Sample], name: str, width: int) -> Tensor:
    if not all(name in sample.columns for sample in samples):
        raise AnypoError(f"only some samples of the rollout have a column '{name}'")
    values = [sample.columns[name] for sample in samples]
    if all(isinstance(value, list) for value in values):
        return _padded(values, width, 0.0)
    return torch.tensor(values)
