"""Environments are asked in time, and what they say is checked."""

import asyncio
import resource
import time

import anyio
import pytest

from anypo import Environment, SamplerError, Turn
from anypo.data.calls import Call, Reply
from anypo.errors import ConfigError, PluginError
from anypo.sampling.environments import Answer, Environments
from anypo.sampling.load import ChosenEnvironment

ROW = {"prompt": [{"role": "system", "content": "add"}]}
SAID = Reply({"role": "assistant", "content": "2"}, [])


def environments(make, timeout=10.0):
    return Environments(ChosenEnvironment("talker", make), timeout)


def answer(make, reply=SAID, timeout=10.0):
    """What an environment says to a reply."""
    of_its_kind = environments(make, timeout)
    ((environment, _),) = of_its_kind.begin([ROW])
    return of_its_kind.answer([(environment, reply)])[0]


def saying(turn, awaits=False):
    """An environment that answers with a turn."""

    class Talker(Environment):
        def step(self, message):
            return turn

    class Waiter(Environment):
        async def step(self, message):
            await anyio.sleep(0)
            return turn

    return Waiter if awaits else Talker


@pytest.mark.parametrize("awaits", [False, True])
def test_a_text_is_a_message_of_the_user(awaits):
    said = [{"role": "user", "content": "sure?"}]
    assert answer(saying(Turn("sure?", 0.5), awaits)) == Answer(said, 0.5, done=False)
    assert answer(saying(Turn(done=True), awaits)) == Answer([], 0.0, done=True)
    messages = [{"role": "system", "content": "a"}, {"role": "user", "content": "b"}]
    assert answer(saying(Turn(messages), awaits)).messages == messages


@pytest.mark.parametrize("awaits", [False, True])
@pytest.mark.parametrize(
    ("turn", "says"),
    [
        (None, "answers None, which is no anypo.Turn"),
        (Turn("a", reward=float("nan")), "gives the reward nan, no number"),
        (Turn("a", reward="much"), "gives the reward 'much', no number"),
        (Turn(), "says nothing to a reply, and is not done"),
        (Turn([{"role": "assistant", "content": "2"}]), "neither a text, nor a list of messages"),
        (Turn([{"content": "2"}]), "neither a text, nor a list of messages"),
        (Turn(7, done=True), "says 7: that is neither"),
        (Turn("so \ud83d"), "says what cannot be read: after 'so .*' half a character is missing"),
        (Turn([{"role": "tool", "content": "\ud83d"}]), "half a character is missing"),
        (
            Turn([{"role": "user", "content": [{"type": "image"}]}]),
            "says what cannot be read: a message holds {'type': 'image'}, and no part but texts",
        ),
    ],
)
def test_what_is_no_answer_is_refused(turn, says, awaits):
    with pytest.raises(SamplerError, match=f"^environment 'talker' .*{says}"):
        answer(saying(turn, awaits))


def test_parts_of_text_are_a_text():
    parts = [{"type": "text", "text": "no, "}, {"type": "text", "text": "less"}]
    said = answer(saying(Turn([{"role": "user", "content": parts}])))
    assert said.messages == [{"role": "user", "content": "no, less"}]


def broken(function, awaits=False):
    """An environment of which a function raises."""

    def raises(self, *_):
        raise ValueError("out of order")

    async def raises_later(self, *_):
        await anyio.sleep(0)
        raise ValueError("out of order")

    return type("Broken", (Environment,), {function: raises_later if awaits else raises})


@pytest.mark.parametrize("function", ["reset", "step"])
@pytest.mark.parametrize("awaits", [False, True])
def test_what_it_raises_names_it_and_the_place(function, awaits):
    says = r"^environment 'talker' raised ValueError: out of order \(.*test_environments.py:\d+\)$"
    with pytest.raises(SamplerError, match=says):
        answer(broken(function, awaits))


def test_what_it_raises_when_it_is_made_names_it():
    with pytest.raises(SamplerError, match=r"^environment 'talker' raised ValueError: out of"):
        environments(broken("__init__"))


@pytest.mark.parametrize("awaits", [False, True])
def test_one_that_takes_too_long_is_named(awaits):
    class Slow(Environment):
        def step(self, message):
            time.sleep(30)

    class Waiting(Environment):
        async def step(self, message):
            await anyio.sleep(30)

    says = "^an answer of environment 'talker' took longer than 0.2 s; raise environment_timeout if"
    with pytest.raises(SamplerError, match=says):
        answer(Waiting if awaits else Slow, timeout=0.2)


def test_where_none_can_be_interrupted_the_limit_that_is_set_is_named(monkeypatch):
    monkeypatch.setattr("anypo.support.deadline.SIGNAL", None)
    with pytest.raises(ConfigError, match="call run there, or set environment_timeout to 0"):
        environments(Environment)


def test_those_that_wait_do_so_together():
    started = []

    class Waiting(Environment):
        def reset(self, row):
            return row["text"]

        async def step(self, message):
            started.append(self)
            while len(started) < 3:  # one after the other, they would wait for good
                await anyio.sleep(0.001)
            return Turn(message["content"], done=True)

    kind = environments(Waiting)
    begun = kind.begin([ROW | {"text": text} for text in "abc"])
    assert [prompt[1]["content"] for _, prompt in begun] == ["a", "b", "c"]
    replies = [Reply({"role": "assistant", "content": text}, []) for text in "def"]
    pairs = [(environment, reply) for (environment, _), reply in zip(begun, replies, strict=True)]
    assert [a.messages[0]["content"] for a in kind.answer(pairs)] == ["d", "e", "f"]


def test_however_many_wait_they_open_no_files():
    most, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    kind = environments(saying(Turn(done=True), awaits=True))
    begun = kind.begin([ROW] * 200)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(200, most), hard))
    try:
        answers = kind.answer([(environment, SAID) for environment, _ in begun])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    assert len(answers) == 200


def test_what_it_waits_for_unseen_is_refused():
    async def later():
        await asyncio.Event().wait()

    class Hidden(Environment):
        def step(self, message):
            return later()

    with pytest.raises(SamplerError, match="environment 'talker' has to be waited for: write"):
        answer(Hidden)


def test_what_it_does_to_what_it_is_given_is_its_own_affair():
    row, message = {"prompt": [{"role": "user", "content": "1+1"}]}, dict(SAID.message)

    class Greedy(Environment):
        def reset(self, row):
            row["prompt"][0]["content"] = row["answer"] = ""

        def step(self, message):
            message["content"] = ""
            return Turn(done=True)

    kind = environments(Greedy)
    ((environment, _),) = kind.begin([row])
    kind.answer([(environment, SAID)])
    assert row == {"prompt": [{"role": "user", "content": "1+1"}]}
    assert SAID.message == message


class Tools(Environment):
    """Has tools of all kinds."""

    @property
    def tools(self):
        return self.add, self.look, self.submit

    def add(self, a: int, b: int):
        """Add.

        Args:
            a: One.
            b: Another.
        """
        return {"sum": a + b}

    async def look(self, word: str):
        """Look a word up.

        Args:
            word: The word.
        """
        raise LookupError(f"no {word}")

    def submit(self, answer: str):
        """Hand an answer in.

        Args:
            answer: The answer.
        """
        return Turn(f"got {answer}", reward=1.0, done=True)


def calling(*calls):
    return Reply({"role": "assistant", "content": ""}, list(calls))


def test_tools_answer_calls_in_their_order():
    said = answer(
        Tools, calling(Call("add", {"a": 1, "b": 2}, "7"), Call("submit", {"answer": "3"}))
    )
    assert said == Answer(
        [
            {"role": "tool", "name": "add", "content": '{"sum": 3}', "tool_call_id": "7"},
            {"role": "tool", "name": "submit", "content": "got 3"},
        ],
        reward=1.0,
        done=True,
    )


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (Call("look", {"word": "ant"}), "error: LookupError: no ant"),
        (Call("lok"), "error: there is no tool 'lok'; did you mean 'look'?"),
        (Call("add", {"a": 1}), "error: TypeError: Tools.add() missing 1 required positional"),
        (Call(flaw="that is no call"), "error: that is no call"),
    ],
)
def test_what_a_tool_raises_is_told_to_the_policy(call, says):
    said = answer(Tools, calling(call))
    assert said.failed == 1
    assert not said.done
    assert said.messages[0]["content"].startswith(says)


def test_the_schemas_of_tools_come_from_their_types_and_docstrings():
    names = [schema["function"]["name"] for schema in environments(Tools).schemas]
    assert names == ["add", "look", "submit"]
    assert environments(Environment).schemas == []


def test_a_tool_without_a_docstring_is_refused():
    class Silent(Environment):
        @property
        def tools(self):
            return (self.act,)

        def act(self):
            pass

    says = "^tool 'act' of environment 'talker' has no schema: .* no docstring"
    with pytest.raises(PluginError, match=says):
        environments(Silent)


class Echo(Environment):
    """Has one tool twice, or one that gives back what it is given."""

    twice = False

    @property
    def tools(self):
        return (self.echo,) * (1 + self.twice)

    def echo(self, text: str):
        """Say it again.

        Args:
            text: Anything.
        """
        return text * 10 if isinstance(text, int) else text


def test_two_tools_of_one_name_are_refused():
    says = "^environment 'talker' has two tools that are called 'echo': rename one"
    with pytest.raises(PluginError, match=says):
        environments(type("Twice", (Echo,), {"twice": True}))


@pytest.mark.parametrize(
    ("text", "says"),
    [("so \ud83d", "so ?"), (10**4299, "error: ValueError: Exceeds the limit"), ([1], "[1]")],
    ids=["half a character", "many digits", "a list"],
)
def test_whatever_the_policy_makes_a_tool_say_can_be_read(text, says):
    (message,) = answer(Echo, calling(Call("echo", {"text": text}))).messages
    assert message["content"].startswith(says)


def test_a_tool_that_has_to_be_waited_for_unseen_is_refused():
    async def later():
        pass

    class Hidden(Echo):
        def echo(self, text: str):
            """Say it again.

            Args:
                text: Anything.
            """
            return later()

    with pytest.raises(SamplerError, match="environment 'talker' has to be waited for: write"):
        answer(Hidden, calling(Call("echo", {"text": "a"})))
