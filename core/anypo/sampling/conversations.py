"""Conversations with an environment, each of which is one sample.

Tokens in, tokens out: a sample holds the very tokens that the engine drew, and between them those
of what the environment said, which the mask leaves out.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import groupby
from typing import Any

from anypo.data.calls import Replies, Reply
from anypo.data.observations import TOOL, Observations
from anypo.data.prompts import template_options, with_content
from anypo.data.tokens import Tokens
from anypo.errors import DataError, SamplerError
from anypo.hooks.batch import ENVIRONMENT, Prompt, Sample, step_columns
from anypo.hooks.environment import Message
from anypo.hooks.sampler import Engine, Memory, SamplingRequest
from anypo.sampling.environments import Answer, Environments
from anypo.sampling.sampler import PolicySampler
from anypo.support.world import ALONE, World


@dataclass(frozen=True)
class Talking:
    """How conversations are held.

    Args:
        environments: Answer the policy.
        tokens: Of its tokenizer.
        turns: Completions of a conversation, at most.
        longest: Tokens of all completions and answers, at most.
        longest_prompt: Tokens of a prompt with the opening messages, at most.
    """

    environments: Environments
    tokens: Tokens
    turns: int
    longest: int
    longest_prompt: int

    @cached_property
    def replies(self) -> Replies:
        """Reads what the policy writes."""
        return Replies(self.tokens.tokenizer, self.environments.schemas)

    def observations(self, ends: Sequence[int]) -> Observations:
        """Makes tokens of what is said to replies that have these ends."""
        return Observations(self.tokens, ends)

    def check(self, sets: Iterable[Sequence[Prompt]]) -> bool:
        """Refuse prompts and a chat template that no conversation can be made of.

        The first prompt of each data set tells it.

        Returns whether the template leaves out of earlier replies what was thought.

        Raises:
            DataError: Saying why.
        """
        return any([self._forgets_after(prompts[0]) for prompts in sets])

    def _forgets_after(self, prompt: Prompt) -> bool:
        self.environments.check(prompt)
        options, seen, calls = _options(prompt), self.observations(()), self.environments.schemas
        try:
            seen.check(prompt.content, options, calls=bool(calls))
            if calls and not self._reads(seen.calls(prompt.content, options)):
                raise DataError(
                    "the tokenizer cannot parse the calls that its chat template renders"
                )
            return seen.forgets_thoughts(prompt.content, options)
        except DataError as error:
            who = self.environments.chosen
            raise DataError(f"{who} cannot talk to this model: {error}") from error

    def _reads(self, calls: Iterable[tuple[list[int], list[int]]]) -> bool:
        """Whether a made-up call is found in some of its forms."""
        read = [call for form in calls for call in self.replies.read(*form).calls]
        return any(call.name == TOOL["name"] and not call.flaw for call in read)


@dataclass
class Conversation:
    """One that is being held."""

    group: int
    prompt: Prompt  # as it is answered, with the opening messages
    environment: Any
    ids: list[int] = field(default_factory=list)
    mask: list[bool] = field(default_factory=list)
    logprobs: list[float] | None = field(default_factory=list)
    steps: list[tuple[int, float]] = field(default_factory=list)  # ends of replies, and rewards
    messages: list[Message] = field(default_factory=list)
    last: Reply = field(default_factory=lambda: Reply({}, []))
    said: list[str] = field(default_factory=list)  # by the environment
    calls: int = 0
    failed: int = 0
    truncated: bool = False

    @property
    def so_far(self) -> Prompt:
        """What the next reply is to follow."""
        return replace(self.prompt, ids=self.prompt.ids + self.ids)

    def reply(self, drawn: Sample, reply: Reply) -> None:
        """Add what the policy wrote. If that was cut, it calls nothing."""
        self.last = replace(reply, calls=[]) if drawn.truncated else reply
        self.ids += drawn.completion_ids
        self.mask += [True] * len(drawn.completion_ids)
        known = self.logprobs is not None and drawn.logprobs is not None
        self.logprobs = [*(self.logprobs or []), *(drawn.logprobs or [])] if known else None
        self.messages.append(reply.message)
        self.calls += len(self.last.calls)
        self.truncated = drawn.truncated

    def hear(self, answer: Answer) -> None:
        """Note what the environment said, which may be the last of it."""
        if self.ids:
            self.steps.append((len(self.ids) - 1, float(answer.reward)))
        self.failed += answer.failed
        self.said += [m["content"] for m in answer.messages if isinstance(m.get("content"), str)]

    def read(self, messages: Sequence[Message], ids: list[int]) -> None:
        """Add what the environment said, for the policy to go on from."""
        self.messages += messages
        self.ids += ids
        self.mask += [False] * len(ids)
        if self.logprobs is not None:
            self.logprobs += [0.0] * len(ids)

    def sample(self) -> Sample:
        """All of it."""
        reward, written = sum(reward for _, reward in self.steps), sum(self.mask)
        figures = {
            "turns": len(self.steps),
            "calls": self.calls,
            "calls_failed": self.failed,
            "written": written,
            "observed": len(self.ids) - written,
        }
        return Sample(
            self.prompt.ids,
            self.ids,
            self.group,
            reward=reward,
            scores={ENVIRONMENT: reward},
            score_weights={ENVIRONMENT: 1.0},
            mask=self.mask,
            logprobs=self.logprobs,
            truncated=self.truncated,
            columns=step_columns(len(self.ids), self.steps),
            feedback="\n".join(self.said),
            asked=self.prompt.content,
            messages=self.messages,
            figures={f"conversation/{name}": float(value) for name, value in figures.items()},
        )


class ConversationSampler(PolicySampler):
    """Has an engine draw the replies of conversations, those of one turn all together.

    Args:
        engine: As of `PolicySampler`.
        request: Of a reply.
        talking: How conversations are held.
        world: As of `PolicySampler`; each process holds its share.
    """

    def __init__(
        self,
        engine: Engine | None,
        request: SamplingRequest,
        talking: Talking,
        world: World = ALONE,
    ) -> None:
        super().__init__(engine, request, world, talking.tokens)
        self.talking = talking

    @property
    def max_completion_length(self) -> int:
        """In tokens that the policy writes, of all its replies."""
        each = self.request.max_completion_length
        return min(self.talking.turns * each, self.talking.longest)

    def _drawn(self, prompts: Sequence[Prompt], n: int) -> list[Sample]:
        environments, held = self.talking.environments, self._begun(prompts, n)
        going, memory = held, Memory()
        asking = self.asking(replace(self.request, memory=memory))
        for turn in range(1, self.talking.turns + 1):
            memory.is_over = turn == self.talking.turns
            asking._reply(going)
            asked = [(conversation.environment, conversation.last) for conversation in going]
            ask = environments.answer if turn < self.talking.turns else environments.answer_last
            answers = ask(asked)
            for conversation, answer in zip(going, answers, strict=True):
                conversation.hear(answer)
            if turn < self.talking.turns:
                pairs = zip(going, answers, strict=True)
                going = [c for c, a in pairs if not (a.done or c.truncated) and self._read(c, a)]
            if not going:
                break
        return [self._sample(conversation) for conversation in held]

    def _sample(self, held: Conversation) -> Sample:
        environments = self.talking.environments
        lent = environments.lent(held.environment, self.world.rank)
        sample = replace(held.sample(), environment=lent)
        return sample if environments.rewards else replace(sample, scores={}, score_weights={})

    def _begun(self, prompts: Sequence[Prompt], n: int) -> list[Conversation]:
        groups = [group for group in range(len(prompts)) for _ in range(n)]
        rows = [{**prompts[g].columns, "prompt": prompts[g].content} for g in groups]
        begun = zip(groups, self.talking.environments.begin(rows), strict=True)
        return [
            Conversation(group, self._opened(prompts[group], content), environment)
            for group, (environment, content) in begun
        ]

    def _opened(self, prompt: Prompt, content: list[Message]) -> Prompt:
        """A prompt as its environment opens it."""
        if content == prompt.content:
            return prompt
        limit = self.talking.longest_prompt
        with _saying(self.talking.environments):
            opened = with_content(prompt, content, self.talking.tokens)
        if len(opened.ids) > limit:
            raise SamplerError(
                f"with what {self.talking.environments.chosen} says first, a prompt has "
                f"{len(opened.ids)} tokens, more than {limit}: raise max_prompt_length, or have it "
                "say less"
            )
        return opened

    def _reply(self, going: Sequence[Conversation]) -> None:
        """Have the policy reply in all conversations that go on."""
        before = [conversation.so_far for conversation in going]
        replies = self.talking.replies
        pairs = zip(going, before, self._drawn_together(before), strict=True)
        for conversation, prompt, drawn in pairs:
            conversation.reply(drawn, replies.read(drawn.completion_ids, prompt.ids))

    def _drawn_together(self, prompts: Sequence[Prompt]) -> Iterator[Sample]:
        """A completion of every prompt; one that comes several times in a row is read once."""
        runs = [list(run) for _, run in groupby(prompts, key=lambda prompt: prompt.ids)]
        sizes = {len(run) for run in runs}
        if len(sizes) == 1:
            return iter(super()._drawn([run[0] for run in runs], sizes.pop()))
        return iter(super()._drawn(prompts, 1))

    def _read(self, conversation: Conversation, answer: Answer) -> bool:
        """Have the policy read an answer, if it has room for it and a reply more."""
        with _saying(self.talking.environments):
            ids = self._observations.after(
                conversation.ids[-1],
                conversation.prompt.content,
                answer.messages,
                _options(conversation.prompt),
            )
        room = self.talking.longest - self.request.max_completion_length
        conversation.truncated = len(conversation.ids) + len(ids) > room
        if not conversation.truncated:
            conversation.read(answer.messages, ids)
        return not conversation.truncated

    @cached_property
    def _observations(self) -> Observations:
        return self.talking.observations(self.request.end_tokens)


def make_sampler(
    engine: Engine | None,
    request: SamplingRequest,
    tokens: Tokens,
    talking: Talking | None,
    world: World = ALONE,
) -> PolicySampler:
    """What a run samples with: completions, or conversations where somebody answers."""
    if talking is None:
        return PolicySampler(engine, request, world, tokens)
    return ConversationSampler(engine, request, talking, world)


@contextmanager
def _saying(environments: Environments) -> Iterator[None]:
    """What is wrong with messages is their environment's fault."""
    try:
        yield
    except DataError as error:
        raise SamplerError(
            f"what {environments.chosen} says is no part of a prompt: {error}"
        ) from error


def _options(prompt: Prompt) -> Mapping[str, Any]:
    return template_options({**prompt.columns, "prompt": prompt.content})
