"""Call reward functions, and trust nothing that they return.

A reward function has TRL's signature: `f(prompts, completions, **columns) -> list[float]`, with
the other columns of the data set as lists, and `completion_ids`. For conversations, prompts and
completions are lists of messages. None means that it does not apply to the row. A list of (index
of the last token, reward) pairs rewards the steps of a completion; its score is their sum. To find
the tokens, a function may name an argument `completion_tokens`: each token as text.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, partial
from inspect import Parameter, signature
from itertools import chain
from numbers import Real
from operator import itemgetter
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from anypo.errors import ConfigError, DataError, RewardError, told
from anypo.functional.groups import rows_by_group
from anypo.hooks.batch import Prompt, Sample, step_columns
from anypo.rewards.load import Reward
from anypo.rewards.timing import in_time
from anypo.support.foreign import foreign, place
from anypo.support.world import ALONE, World, shares

TOKENS = "completion_tokens"
GIVEN = {"prompts", "completions", "completion_ids", TOKENS}  # whatever columns are called so
TRIED = 32  # combinations of blanks; what others do shows in a step
NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
MEAN = "mean"  # what the metric of their sum is called
Answer = float | list[tuple[int, float]]  # a score, or the rewards of steps


class Rewards:
    """Scores samples with several reward functions; the reward is their weighted sum.

    Args:
        rewards: With different names, or sources.
        tokenizer: Turns completion ids into the text that the functions see.
        timeout: Seconds that one call of a function may take; 0 for no limit.
        world: The processes, each of which scores its share and gets the answers of the others.

    Raises:
        RewardError: Two are the same.
    """

    def __init__(
        self,
        rewards: Sequence[Reward],
        tokenizer: PreTrainedTokenizerBase,
        timeout: float,
        world: World = ALONE,
    ) -> None:
        if len({MEAN, *(reward.name for reward in rewards)}) <= len(rewards):
            rewards = [replace(reward, name=reward.source) for reward in rewards]
        names = [reward.name for reward in rewards]
        if len(set(names)) < len(names):
            raise RewardError(f"rewards must be different: {names}")
        self.rewards, self.tokenizer, self.timeout = list(rewards), tokenizer, timeout
        self.world = world
        self.stop: Sequence[str] = ()
        self._refusals: dict[frozenset[Any], str] = {}  # by the columns that are blank
        self._examples: dict[str, Any] = {}  # of what columns hold that are not

    def reading_to(self, stop: Sequence[str]) -> "Rewards":
        """The same, whose functions see of a text only what stands before the first of `stop`."""
        reading = copy.copy(self)
        reading.stop = stop
        return reading

    def prepare(self) -> None:
        """Have the rewards load what they need. Raises ModelError if that is broken."""
        for reward in self.rewards:
            reward.prepare()

    def check(self, prompt: Prompt) -> None:
        """Refuse a row of a data set that cannot be scored, before anything is sampled.

        Raises:
            DataError: It lacks a column that a function demands; or one that a function may read
                is blank, and no function scores the row then, or one raises; or a model cannot
                read it.
        """
        for reward in self.rewards:
            try:
                reward.check(prompt)
            except DataError as error:
                raise DataError(f"reward '{reward.name}' cannot score it: {error}") from error
        for name, column in self._demanded:
            if column not in prompt.columns:
                there = ", ".join(prompt.columns) or "none besides prompt"
                raise DataError(f"reward '{name}' needs a column '{column}'; there is {there}")
        held = {name: value for name, value in prompt.columns.items() if self._may_read(name)}
        blanks = frozenset((c, value) for c, value in held.items() if value in (None, ""))
        self._examples |= {c: value for c, value in held.items() if value not in (None, "")}
        if blanks and (why := self._refusal(blanks, prompt)):
            raise DataError(f"'{min(blanks, key=itemgetter(0))[0]}' is blank, and {why}")

    def _refusal(self, blanks: frozenset[Any], prompt: Prompt) -> str:
        """Why rows with these blanks are not scored, if so and they are what it hangs on.

        One made-up completion tells it, and another to the row with what other rows hold there.
        """
        if blanks not in self._refusals and len(self._refusals) < TRIED:
            why = self._failure(prompt)
            known = {c: self._examples[c] for c, _ in blanks if c in self._examples}
            if why and known and self._failure(replace(prompt, columns=prompt.columns | known)):
                why = ""
            self._refusals[blanks] = why
        return self._refusals.get(blanks, "")

    def _failure(self, prompt: Prompt) -> str:
        try:
            self([prompt], [Sample(prompt.ids, prompt.ids, group=0)])
        except RewardError as error:
            return str(error)
        return ""

    def _may_read(self, column: str) -> bool:
        return any(p.name == column or p.kind is p.VAR_KEYWORD for _, p in self._parameters)

    @cached_property
    def _parameters(self) -> list[tuple[str, Parameter]]:
        """Those of all functions, each with the name of its function."""
        every = ((r.name, signature(r.function).parameters) for r in self.rewards)
        return [(name, p) for name, parameters in every for p in parameters.values()]

    @cached_property
    def _demanded(self) -> list[tuple[str, str]]:
        """The columns that functions cannot do without, each with the name of the function."""
        return [
            (name, p.name)
            for name, p in self._parameters
            if p.kind in NAMED and p.default is p.empty and p.name not in GIVEN
        ]

    def __call__(self, prompts: Sequence[Prompt], samples: Sequence[Sample]) -> list[Sample]:
        """See `anypo.hooks.rollout.Scorer`. A reward that does not apply is a score of NaN.

        Raises:
            RewardError: A function raised, took too long, or did not return one finite number (or
                None) per completion; or none of them applies to a row.
        """
        answers = self._answers(prompts, samples)
        stepwise = any(isinstance(answer, list) for row in answers for answer in row)
        rows = zip(samples, answers, strict=True)
        return [self._scored(sample, row, stepwise) for sample, row in rows]

    def _answers(
        self, prompts: Sequence[Prompt], samples: Sequence[Sample]
    ) -> list[tuple[Answer, ...]]:
        """What the functions say of each sample; each process asks them for its share of groups."""
        groups = rows_by_group(torch.tensor([sample.group for sample in samples]))
        parts = shares([len(rows) for rows in groups], self.world.size)
        orders = [sorted(row for place in part for row in groups[place]) for part in parts]
        mine = [samples[row] for row in orders[self.world.rank]]
        found: list[tuple[Answer, ...]] = []
        with self.world.agreed(), self.world.apart():
            if mine:
                arguments = self._arguments(prompts, mine)
                answers = [_call(reward, arguments, self.timeout) for reward in self.rewards]
                found = list(zip(*answers, strict=True))
        every = zip(chain(*orders), chain(*self.world.gather(found)), strict=True)
        return [answer for _, answer in sorted(every, key=itemgetter(0))]

    def _scored(self, sample: Sample, answers: Sequence[Answer], stepwise: bool) -> Sample:
        scores = [sum(r for _, r in a) if isinstance(a, list) else a for a in answers]
        applying = [(r, s) for r, s in zip(self.rewards, scores, strict=True) if not math.isnan(s)]
        if not applying:
            raise RewardError("every reward returned None for a completion: nothing scores it")
        steps = self._step_columns(sample, answers) if stepwise else {}
        return replace(
            sample,
            reward=sum(reward.weight * score for reward, score in applying),
            scores={r.name: score for r, score in zip(self.rewards, scores, strict=True)},
            score_weights={r.name: r.weight for r in self.rewards},
            columns=sample.columns | steps,
        )

    def _step_columns(self, sample: Sample, answers: Sequence[Answer]) -> dict[str, list[float]]:
        """The steps of all functions, weighted; no two may end at the same token."""
        steps: dict[int, float] = {}
        for reward, answer in zip(self.rewards, answers, strict=True):
            for end, value in answer if isinstance(answer, list) else []:
                if end in steps or not 0 <= end < len(sample.completion_ids):
                    raise RewardError(
                        f"reward '{reward.name}' ends a step at token {end} of a completion of "
                        f"{len(sample.completion_ids)} tokens: each end is a token, and used once"
                    )
                steps[end] = reward.weight * value
        return step_columns(len(sample.completion_ids), list(steps.items()))

    def seen(self, prompts: Sequence[Prompt], samples: Sequence[Sample]) -> list[Any]:
        """Completions as functions are given them: texts, or lists of one message."""
        ids = [sample.completion_ids for sample in samples]
        decoded = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        texts = [_before(self.stop, text) for text in decoded]
        talks = [not isinstance(prompts[sample.group].content, str) for sample in samples]
        return [
            [{"role": "assistant", "content": text}] if talk else text
            for talk, text in zip(talks, texts, strict=True)
        ]

    def _arguments(self, prompts: Sequence[Prompt], samples: Sequence[Sample]) -> dict[str, Any]:
        asked = [prompts[sample.group] for sample in samples]
        ids = [sample.completion_ids for sample in samples]
        columns = {name for prompt in asked for name in prompt.columns}
        arguments = {
            **{name: [prompt.columns.get(name) for prompt in asked] for name in columns},
            "prompts": [prompt.content for prompt in asked],
            "completions": self.seen(prompts, samples),
            "completion_ids": ids,
        }
        if any(TOKENS in signature(reward.function).parameters for reward in self.rewards):
            decode = partial(self.tokenizer.batch_decode, skip_special_tokens=True)
            arguments[TOKENS] = [decode([[token] for token in row]) for row in ids]
        return arguments


def _before(stops: Sequence[str], text: str) -> str:
    return min((text.partition(stop)[0] for stop in stops), key=len, default=text)


def _call(reward: Reward, arguments: dict[str, Any], timeout: float) -> list[Answer]:
    rows = len(arguments["completions"])
    arguments = copy.deepcopy(arguments)  # what a function does to them is its own affair
    parameters = signature(reward.function).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        arguments = {name: value for name, value in arguments.items() if name in parameters}
    limit = in_time(f"reward '{reward.name}'", timeout)
    with limit, foreign(partial(_failure, reward), passing=(ConfigError,)):
        answer = reward.function(**arguments)
    return _checked(reward.name, answer, rows)


def _failure(reward: Reward, error: BaseException) -> RewardError:
    own = getattr(reward.function, "__module__", "") or type(reward.function).__module__
    return RewardError(f"reward '{reward.name}' raised {told(error)}{place(error, own)}")


def _checked(name: str, answer: Any, rows: int) -> list[Answer]:
    values = answer.tolist() if hasattr(answer, "tolist") else answer
    if not isinstance(values, list | tuple):
        raise RewardError(f"reward '{name}' returned {answer!r:.60}, not a list of numbers")
    if len(values) != rows:
        raise RewardError(f"reward '{name}' returned {len(values)} numbers for {rows} completions")
    return [_checked_value(f"reward '{name}'", value, i) for i, value in enumerate(values)]


def _checked_value(who: str, value: Any, row: int) -> Answer:
    if value is None:
        return math.nan
    if _is_number(value):
        return float(value)
    if isinstance(value, list | tuple) and all(_is_step(step) for step in value):
        return [(int(end), float(reward)) for end, reward in value]
    raise RewardError(
        f"{who} returned {value!r:.60} for completion {row}: a reward is a finite number, None "
        "where it does not apply, or a list of (end token, reward) steps"
    )


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, Real) and math.isfinite(value)
    except OverflowError:
        return False


def _is_step(step: Any) -> bool:
    is_pair = isinstance(step, list | tuple) and len(step) == 2
    return is_pair and isinstance(step[0], int) and _is_number(step[1])
