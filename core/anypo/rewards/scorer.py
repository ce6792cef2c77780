"""Score samples with reward functions.

A reward function has TRL's signature: `f(prompts, completions, **columns) -> list[float]`, with
the other columns of the data set as lists, and `completion_ids` with a `completion_mask`, which
says what of them the policy wrote. For conversations, prompts and completions are lists of
messages, and `environments` are those that answered. None means that it does not apply to the row.
A list of (index of the last token, reward) pairs rewards the steps of a completion; its score is
their sum. To find the tokens, a function may name an argument `completion_tokens`: each token as
text. Words beside any of these are a `Judgement(score, feedback)`.
"""

import copy
import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from inspect import Parameter, signature
from itertools import chain
from operator import itemgetter
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from anypo.data.formats import is_reply
from anypo.errors import DataError, RewardError
from anypo.functional.groups import rows_by_group
from anypo.hooks.batch import ENVIRONMENT, Prompt, Sample
from anypo.rewards.answers import Answer
from anypo.rewards.calling import ENVIRONMENTS, PASSING, Call, answers, raised
from anypo.rewards.load import Reward
from anypo.rewards.steps import rewarded_steps, steps_of
from anypo.rewards.timing import in_time
from anypo.support.foreign import foreign
from anypo.support.world import ALONE, World, shares

TOKENS, MASK = "completion_tokens", "completion_mask"
GIVEN = {"prompts", "completions", "completion_ids", TOKENS, MASK}  # whatever columns are called so
TRIED = 32  # combinations of blanks; what others do shows in a step
NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
# What the metrics of their sum are called, and what an environment gave.
TAKEN = {"mean", "std", "kept", ENVIRONMENT}


class Rewards:
    """Scores samples with several reward functions; the reward is their weighted sum.

    Args:
        rewards: With different names, or sources.
        tokenizer: Turns completion ids into the text that the functions see.
        timeout: Seconds that one call of a function may take; 0 for no limit.
        world: The processes, each of which scores its share and gets the answers of the others.
        retries: How often one is called again where its service could not be reached.
        tell: Is told of that.
        talks: Whether samples are conversations with environments, which functions may ask for.

    Raises:
        RewardError: Two are the same.
    """

    def __init__(
        self,
        rewards: Sequence[Reward],
        tokenizer: PreTrainedTokenizerBase,
        timeout: float,
        world: World = ALONE,
        retries: int = 0,
        tell: Callable[[str], None] = lambda _: None,
        *,
        talks: bool = False,
    ) -> None:
        if len({*TAKEN, *(reward.name for reward in rewards)}) < len(TAKEN) + len(rewards):
            rewards = [replace(reward, name=reward.source) for reward in rewards]
        names = [reward.name for reward in rewards]
        if len(set(names)) < len(names):
            raise RewardError(f"rewards must be different: {names}")
        self.rewards, self.tokenizer, self.timeout = list(rewards), tokenizer, timeout
        self.world, self.retries, self.tell = world, retries, tell
        self.given = GIVEN | ({ENVIRONMENTS} if talks else set())
        self._again, self._told = Counter[str](), Counter[str]()  # calls, by the names of rewards
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
        held = {name: value for name, value in prompt.columns.items() if self.reads(name)}
        blanks = frozenset((c, value) for c, value in held.items() if value in (None, ""))
        self._examples |= {c: value for c, value in held.items() if value not in (None, "")}
        if blanks and (why := self._refusal(blanks, prompt)):
            raise DataError(f"'{min(blanks, key=itemgetter(0))[0]}' is blank, and {why}")

    def _refusal(self, blanks: frozenset[Any], prompt: Prompt) -> str:
        """Why rows with these blanks are not scored, if so and they are what it hangs on.

        One made-up completion tells it, and another to the row with what other rows hold there.
        No environment has answered that, so functions that ask for one are not tried.
        """
        if self._asks(ENVIRONMENTS):
            return ""
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

    def reads(self, column: str) -> bool:
        """Whether some function may read a column of the data set."""
        return any(p.name == column or p.kind is p.VAR_KEYWORD for _, p in self._parameters)

    def _asks(self, argument: str) -> bool:
        """Whether some function names an argument."""
        return any(p.name == argument for _, p in self._parameters)

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
            if p.kind in NAMED and p.default is p.empty and p.name not in self.given
        ]

    def __call__(self, prompts: Sequence[Prompt], samples: Sequence[Sample]) -> list[Sample]:
        """See `anypo.hooks.rollout.Scorer`. A reward that does not apply is a score of NaN.

        Raises:
            RewardError: A function raised, took too long, or did not return one finite number (or
                None) per completion, with words or without; or none of them applies to a row.
        """
        answers = self._answers(prompts, samples)
        stepwise = any(isinstance(answer.score, list) for row in answers for answer in row)
        rows = zip(samples, answers, strict=True)
        return [self._scored(sample, row, stepwise) for sample, row in rows]

    def finds(self, reward: Reward, prompt: Prompt, sample: Sample) -> bool:
        """Whether a reward that looks for something finds it in a scored completion.

        What it gives more than 0 for, it has found.

        Raises:
            RewardError: What says so raised, or took too long.
        """
        if reward.finds is None or sample.scores.get(reward.name, 0.0) > 0:
            return True
        (seen,) = self.seen([prompt], [replace(sample, group=0)])
        limit = in_time(f"reward '{reward.name}'", self.timeout)
        with limit, foreign(partial(raised, reward), passing=PASSING):
            return bool(reward.finds(seen))

    def _answers(
        self, prompts: Sequence[Prompt], samples: Sequence[Sample]
    ) -> list[tuple[Answer, ...]]:
        """What the functions say of each sample; each process asks them for its share."""
        orders = self._shares(samples)
        mine = [samples[row] for row in orders[self.world.rank]]
        found: list[tuple[Answer, ...]] = []
        calls: list[Call] = []
        with self.world.agreed(), self.world.apart():
            if mine:
                arguments = self._arguments(prompts, mine)
                calls = [Call(reward, arguments, self.retries) for reward in self.rewards]
                said = answers(calls, self.timeout)
                found = list(zip(*said, strict=True)) if said else [()] * len(mine)
        again = [(c.reward.name, c.patience.again, c.patience.why) for c in calls]
        shared = self.world.gather((found, again))
        self._tell_of(chain(*(told for _, told in shared)))
        every = zip(chain(*orders), chain(*(theirs for theirs, _ in shared)), strict=True)
        return [answer for _, answer in sorted(every, key=itemgetter(0))]

    def _shares(self, samples: Sequence[Sample]) -> list[list[int]]:
        """The rows of each process: of whole groups, whose environments are there if need be."""
        if self.reads(ENVIRONMENTS) and any(s.environment for s in samples):
            size = self.world.size  # less than it was, maybe, when kept conversations were held
            held = [s.environment.rank % size if s.environment else 0 for s in samples]
            return [[r for r, at in enumerate(held) if at == rank] for rank in range(size)]
        groups = rows_by_group(torch.tensor([sample.group for sample in samples]))
        parts = shares([len(rows) for rows in groups], self.world.size)
        return [sorted(row for place in part for row in groups[place]) for part in parts]

    def _tell_of(self, again: Iterable[tuple[str, int, str]]) -> None:
        """Say how often services were asked again, each time that it has doubled."""
        for name, times, why in again:
            self._again[name] += times
            if times and self._again[name] >= 2 * self._told[name]:
                self._told[name] = self._again[name]
                often = "once" if self._told[name] == 1 else f"{self._told[name]} times by now"
                self.tell(f"reward '{name}' was asked again, {often}: {why}")

    def _scored(self, sample: Sample, answers: Sequence[Answer], stepwise: bool) -> Sample:
        told = [answer.score for answer in answers]
        said = [sum(r for _, r in s) if isinstance(s, list) else s for s in told]
        names = [reward.name for reward in self.rewards]
        scores = sample.scores | dict(zip(names, said, strict=True))  # those of an environment stay
        weights = sample.score_weights | {r.name: r.weight for r in self.rewards}
        applying = {name: score for name, score in scores.items() if not math.isnan(score)}
        if not applying:
            raise RewardError("every reward returned None for a completion: nothing scores it")
        stepwise = stepwise or bool(steps_of(sample))
        steps = rewarded_steps(sample, self.rewards, answers) if stepwise else {}
        return replace(
            sample,
            reward=sum(weights.get(name, 1.0) * score for name, score in applying.items()),
            scores=scores,
            score_weights=weights,
            columns=sample.columns | steps,
            feedback="\n".join(filter(None, [sample.feedback, *(a.feedback for a in answers)])),
        )

    def seen(self, prompts: Sequence[Prompt], samples: Sequence[Sample]) -> list[Any]:
        """Completions as functions are given them: texts, or lists of messages."""
        ids = [sample.completion_ids for sample in samples]
        decoded = self.tokenizer.batch_decode(ids, skip_special_tokens=True)
        texts = [_before(self.stop, text) for text in decoded]
        pairs = zip(samples, texts, strict=True)
        return [self._read(prompts[sample.group], sample, text) for sample, text in pairs]

    def _read(self, prompt: Prompt, sample: Sample, text: str) -> Any:
        if sample.messages is None:
            return _of_its_kind(prompt, text)
        said = [(message, str(message.get("content") or "")) for message in sample.messages]
        return [
            message | {"content": _before(self.stop, text)} if is_reply(message) else message
            for message, text in said
        ]

    def _arguments(self, prompts: Sequence[Prompt], samples: Sequence[Sample]) -> dict[str, Any]:
        asked = [prompts[sample.group] for sample in samples]
        ids = [sample.completion_ids for sample in samples]
        columns = {name for prompt in asked for name in prompt.columns}
        arguments = {
            **{name: [prompt.columns.get(name) for prompt in asked] for name in columns},
            "prompts": [s.asked or p.content for s, p in zip(samples, asked, strict=True)],
            "completions": self.seen(prompts, samples),
            "completion_ids": ids,
            MASK: [s.mask or [True] * len(s.completion_ids) for s in samples],
        }
        if ENVIRONMENTS in self.given:
            arguments[ENVIRONMENTS] = [s.environment and s.environment.thing for s in samples]
        if self._asks(TOKENS):
            decode = partial(self.tokenizer.batch_decode, skip_special_tokens=True)
            arguments[TOKENS] = [decode([[token] for token in row]) for row in ids]
        return arguments


def _of_its_kind(prompt: Prompt, text: str) -> Any:
    """A completion as functions are given it: a text, or what a message says."""
    return text if isinstance(prompt.content, str) else [{"role": "assistant", "content": text}]


def _before(stops: Sequence[str], text: str) -> str:
    return min((text.partition(stop)[0] for stop in stops), key=len, default=text)
