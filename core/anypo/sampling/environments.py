"""Ask environments: those that wait for something all at once, others one after the other."""

import copy
import json
import math
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from inspect import isawaitable, iscoroutinefunction
from numbers import Real
from typing import Any, TypeVar

from transformers.utils.chat_template_utils import get_json_schema

from anypo.data.calls import Call, Reply
from anypo.data.content import as_texts, sound, whole
from anypo.data.formats import is_reply
from anypo.data.messages import is_message
from anypo.errors import AnypoError, DataError, PluginError, SamplerError, nearest, told
from anypo.hooks.batch import Prompt
from anypo.hooks.environment import Message, Turn
from anypo.sampling.load import ChosenEnvironment
from anypo.support.foreign import foreign, lacks_memory, place
from anypo.support.here import Here
from anypo.support.loop import awaited
from anypo.support.timing import in_time
from anypo.support.together import together

T = TypeVar("T")
OPTION = "environment_timeout"


@dataclass
class Answer:
    """What an environment says to a reply."""

    messages: list[Message] = field(default_factory=list)
    reward: float = 0.0
    done: bool = False
    failed: int = 0  # calls of tools


class Environments:
    """Makes and asks environments of one kind.

    Attributes:
        rewards: Whether their turns are rewarded.
        score: A reward function of theirs that is given those whose conversations are over.

    Args:
        chosen: Their kind.
        timeout: Seconds that one may take to begin, or to answer; 0 for no limit.

    Raises:
        SamplerError: It cannot be made.
        PluginError: It has a tool of which no schema can be made, or two of one name.
    """

    rewards = True
    score: Callable[..., Any] | None = None

    def __init__(self, chosen: ChosenEnvironment, timeout: float) -> None:
        self.chosen, self.timeout = chosen, timeout
        with in_time(f"making {chosen}", timeout, OPTION, SamplerError):
            self.first = one = self._made()
        with foreign(self._raised):
            tools = list(self._tools(one))
        self.schemas = [self._schema(tool) for tool in tools]
        names = [schema["function"]["name"] for schema in self.schemas]
        if twice := [name for name in names if names.count(name) > 1]:
            raise PluginError(f"{chosen} has two tools that are called '{twice[0]}': rename one")
        self.awaits = any(map(iscoroutinefunction, (one.reset, getattr(one, "step", None), *tools)))

    def check(self, prompt: Prompt) -> None:
        """Refuse a prompt that they cannot talk about; raises DataError."""
        if not isinstance(prompt.content, list):
            raise DataError(
                f"a prompt is a text, but {self.chosen} talks in messages: make prompts lists of "
                "messages"
            )

    def begin(self, rows: Sequence[Mapping[str, Any]]) -> list[tuple[Any, list[Message]]]:
        """An environment for each row, whose `prompt` is messages, and the prompt as it opens it.

        Raises:
            SamplerError: One raises, takes too long, or says what are no messages.
        """
        return self._each([partial(self._begun, row) for row in rows], "the start")

    def answer(self, asked: Sequence[tuple[Any, Reply]]) -> list[Answer]:
        """What environments say to replies. Raises like `begin`; what tools raise is told."""
        return self._each([partial(self._answer, *each) for each in asked], "an answer")

    def answer_last(self, asked: Sequence[tuple[Any, Reply]]) -> list[Answer]:
        """The same of replies that no other may follow: what is said to them, nobody reads."""
        return self.answer(asked)

    def lent(self, environment: Any, rank: int) -> Here:
        """One whose conversation is over, for reward functions of the process of that rank."""
        return Here(rank, environment)

    def _each(self, jobs: Sequence[Callable[[], Coroutine[Any, Any, T]]], what: str) -> list[T]:
        took = f"{what} of {self.chosen}"
        if not self.awaits:
            found = list[T]()
            for job in jobs:
                with in_time(took, self.timeout, OPTION, SamplerError), foreign(self._raised):
                    found.append(_at_once(job()))
            return found
        named = [partial(self._named, job) for job in jobs]
        try:
            with foreign(self._raised, (AnypoError, TimeoutError)):
                return awaited(together(named), self.timeout)
        except TimeoutError:
            raise SamplerError(
                f"{took} took longer than {self.timeout:g} s; raise {OPTION} if it may"
            ) from None

    async def _named(self, job: Callable[[], Coroutine[Any, Any, T]]) -> T:
        try:
            return await job()
        except (Exception, SystemExit) as error:
            if isinstance(error, AnypoError) or lacks_memory(error):
                raise
            raise self._raised(error) from error

    async def _begun(self, row: Mapping[str, Any]) -> tuple[Any, list[Message]]:
        environment, prompt = self._taken(), list(row["prompt"])
        said = await self._value(self._reset(environment, copy.deepcopy(dict(row))))
        last, messages = prompt[-1], self._messages(said or "")
        if isinstance(said, str) and last["role"] == "user" and isinstance(last["content"], str):
            prompt[-1] = last | {"content": last["content"] + said}
            return environment, prompt
        return environment, prompt + messages

    def _reset(self, environment: Any, row: dict[str, Any]) -> Any:
        return environment.reset(row)

    def _tools(self, environment: Any) -> Sequence[Callable[..., Any]]:
        tools: Sequence[Callable[..., Any]] = environment.tools
        return tools

    async def _answer(self, environment: Any, reply: Reply) -> Answer:
        if reply.calls:
            return await self._called(environment, reply.calls)
        turn = self._turn(await self._value(environment.step(copy.deepcopy(reply.message))))
        messages = self._messages(turn.observation)
        if not (messages or turn.done):
            raise SamplerError(f"{self.chosen} says nothing to a reply, and is not done")
        return Answer(messages, turn.reward, turn.done)

    async def _called(self, environment: Any, calls: Sequence[Call]) -> Answer:
        """What tools return, a message each; what they raise is for the policy to read."""
        answer, tools = Answer(), {tool.__name__: tool for tool in self._tools(environment)}
        for call in calls:
            try:
                result = await self._value(_tool(tools, call)(**copy.deepcopy(call.arguments)))
                turn = self._turn(result) if isinstance(result, Turn) else Turn(result)
                text = self._text(turn.observation)
            except AnypoError:
                raise
            except Exception as error:
                turn, text = Turn(), self._complaint(call, error)
                answer.failed += 1
            answer.reward, answer.done = answer.reward + turn.reward, answer.done or turn.done
            message = {"role": "tool", "name": call.name, "content": whole(text)}
            message |= {"tool_call_id": call.id} if call.id else {}
            answer.messages.append(message)
        return answer

    def _text(self, result: Any) -> str:
        """What a tool returns, as the policy reads it."""
        if isinstance(result, str):
            return result
        try:
            return json.dumps(result, ensure_ascii=False)
        except (TypeError, ValueError):
            return str(result)

    def _complaint(self, call: Call, error: Exception) -> str:
        """What the policy reads of a call that makes no sense, or whose tool raised."""
        return f"error: {error if isinstance(error, NoCallError) else told(error)}"

    async def _value(self, given: Any) -> Any:
        if not isawaitable(given):
            return given
        if not self.awaits:
            getattr(given, "close", lambda: None)()
            raise SamplerError(f"{self.chosen} has to be waited for: write `async def`")
        return await given

    def _turn(self, turn: Any) -> Turn:
        if not isinstance(turn, Turn):
            raise SamplerError(f"{self.chosen} answers {turn!r:.60}, which is no anypo.Turn")
        if not (isinstance(turn.reward, Real) and math.isfinite(turn.reward)):
            raise SamplerError(f"{self.chosen} gives the reward {turn.reward!r:.60}, no number")
        return turn

    def _messages(self, said: Any) -> list[Message]:
        if isinstance(said, str):
            return self._texts([{"role": "user", "content": said}]) if said else []
        are_messages = isinstance(said, list | tuple) and all(map(is_message, said))
        if not are_messages or any(map(is_reply, said)):
            raise SamplerError(
                f"{self.chosen} says {said!r:.60}: that is neither a text, nor a list of messages "
                "of others than the assistant"
            )
        return self._texts(copy.deepcopy(list(said)))

    def _texts(self, messages: list[Message]) -> list[Message]:
        try:
            texts: list[Message] = as_texts(messages)
            for message in texts:
                if isinstance(message.get("content"), str):
                    sound(message["content"])
        except DataError as error:
            raise SamplerError(f"{self.chosen} says what cannot be read: {error}") from error
        return texts

    def _taken(self) -> Any:
        """One for a conversation."""
        return self._made()

    def _made(self) -> Any:
        with foreign(self._raised):
            return self.chosen.make()

    def _schema(self, tool: Any) -> Any:
        def explain(error: BaseException) -> PluginError:
            name = getattr(tool, "__name__", repr(tool)[:60])
            return PluginError(f"tool '{name}' of {self.chosen} has no schema: {told(error)}")

        with foreign(explain):
            return get_json_schema(tool)

    def _raised(self, error: BaseException) -> SamplerError:
        module = getattr(self.chosen.make, "__module__", "")
        return SamplerError(f"{self.chosen} raised {told(error)}{place(error, module)}")


class NoCallError(Exception):
    """What the policy wrote calls nothing."""


def _tool(tools: Mapping[str, Callable[..., Any]], call: Call) -> Callable[..., Any]:
    if call.flaw:
        raise NoCallError(call.flaw)
    if call.name not in tools:
        raise NoCallError(f"there is no tool '{call.name}'{nearest(call.name, tools)}")
    return tools[call.name]


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    """What comes of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as end:
        found: T = end.value
        return found
    raise AssertionError("what would have to be waited for is refused")
