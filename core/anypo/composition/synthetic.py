"""Made-up prompts, completions and rewards, to try an algorithm before any model is loaded."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from anypo.hooks.batch import Completion, Prompt, Sample, step_columns
from anypo.hooks.rollout import POLICY

LENGTHS = (7, 3, 0, 5, 1, 6, 2, 4)  # of the made-up completions, in tokens: one is empty


class SyntheticSampler:
    """Completions of every length in `LENGTHS`, the longest ones truncated."""

    max_completion_length = max(LENGTHS)

    def __init__(self) -> None:
        self.used = False
        self.models = set[str]()  # that were asked for beside the policy
        self.otherwise = False  # whether it was to draw in another way than the run says

    def sample(
        self, prompts: Sequence[Prompt], n: int, *, model: str = POLICY, **how: Any
    ) -> list[Sample]:
        """See `anypo.hooks.rollout.Sampler`."""
        self.used = True
        self.models |= {model} - {POLICY}
        self.otherwise |= bool(how) or model != POLICY
        rows = [(prompt, group, i) for group, prompt in enumerate(prompts) for i in range(n)]
        return [self._completion(prompt, group, self.length(group, i)) for prompt, group, i in rows]

    def followed_by(self, prompt: Prompt, more: Any) -> Prompt:
        """See `anypo.hooks.rollout.Sampler`."""
        return replace(prompt, ids=[*prompt.ids, 7, 8])

    def text(self, sample: Sample) -> str:
        """See `anypo.hooks.rollout.Sampler`."""
        return f"made up, of {len(sample.completion_ids)} tokens"

    def length(self, group: int, i: int) -> int:
        """Tokens of the i-th completion to a prompt."""
        return LENGTHS[(group + i) % len(LENGTHS)]

    def _completion(self, prompt: Prompt, group: int, length: int) -> Sample:
        return Sample(
            prompt_ids=prompt.ids,
            completion_ids=list(range(length)),
            group=group,
            logprobs=[-0.1 * (t + 1) for t in range(length)],
            truncated=length == self.max_completion_length,
        )


class SyntheticScores(dict[str, float]):
    """Has a score by every name: what the rewards of a run are called is not known yet."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> float:
        return self["synthetic"]


class SyntheticScorer:
    """Rewards 1 and 0 in turn, so that no group agrees, and some steps."""

    def __init__(self) -> None:
        self.used = False

    def __call__(self, prompts: Sequence[Prompt], samples: Sequence[Sample]) -> list[Sample]:
        """See `anypo.hooks.rollout.Scorer`."""
        self.used = True
        return [self._with_steps(self.scored(s, i), i) for i, s in enumerate(samples)]

    def scored(self, sample: Sample, i: int) -> Sample:
        """The i-th sample with its reward."""
        reward = float(i % 2)
        return replace(sample, reward=reward, scores=SyntheticScores(synthetic=reward))

    def step_reward(self, i: int, step: int) -> float:
        """The reward of a step of the i-th sample."""
        return float(step % 2)

    def _with_steps(self, sample: Sample, i: int) -> Sample:
        ends = range(0, len(sample.completion_ids), 2)
        steps = [(end, self.step_reward(i, step)) for step, end in enumerate(ends)]
        columns = step_columns(len(sample.completion_ids), steps)
        return replace(sample, columns={**sample.columns, **columns})


class SyntheticRow(dict[str, Any]):
    """Has every column that is asked for, and afterwards those that were."""

    def __init__(self, make: Callable[[int], Any]) -> None:
        self.make = make

    def __missing__(self, name: str) -> Any:
        self[name] = self.make(len(self))
        return self[name]


def synthetic_prompt(row: int) -> Prompt:
    """The prompt of a row that has all that is asked for."""
    lengths = [length for length in LENGTHS if length]  # a row of a data set is never empty

    def completion(i: int) -> Completion:
        return Completion(list(range(row, row + lengths[(2 * row + i) % len(lengths)])))

    labels = SyntheticRow(lambda _: row % 2 == 0)
    return Prompt([1, 2, 3 + row], "made up", labels, SyntheticRow(completion))
