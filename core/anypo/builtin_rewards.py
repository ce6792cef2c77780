"""The reward functions that come with anypo, by name: `exact`, `regex`, `length`, `math`."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from anypo.errors import RewardError

RewardFunction = Callable[..., list[float]]
ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def text_of(completion: Any) -> str:
    """The text of a completion: itself, or that of its messages."""
    if isinstance(completion, str):
        return completion
    return "".join(message["content"] for message in completion)


def exact(argument: str) -> RewardFunction:
    """1 where the last <answer>…</answer> (the whole text if none) equals the column `answer`."""
    _refuse_argument("exact", argument)

    def exact(completions: list[Any], answer: list[Any], **_: Any) -> list[float]:
        return [
            float(_last_answer(text_of(completion)) == str(right).strip())
            for completion, right in zip(completions, answer, strict=True)
        ]

    return exact


def regex(argument: str) -> RewardFunction:
    """1 where the pattern, `regex:PATTERN`, is found in the completion."""
    if not argument:
        raise RewardError("reward 'regex' needs a pattern: regex:PATTERN")
    try:
        pattern = re.compile(argument, re.DOTALL)
    except re.error as error:
        raise RewardError(f"reward 'regex:{argument}' is not a pattern: {error}") from error

    def regex(completions: list[Any], **_: Any) -> list[float]:
        return [float(bool(pattern.search(text_of(completion)))) for completion in completions]

    return regex


def length(argument: str) -> RewardFunction:
    """Minus the completion's length in tokens; give it a small weight, as in `length=0.01`."""
    _refuse_argument("length", argument)

    def length(completion_ids: list[list[int]], **_: Any) -> list[float]:
        return [-float(len(ids)) for ids in completion_ids]

    return length


def math(argument: str) -> RewardFunction:
    """1 where math-verify finds the completion's result equal to the column `answer`."""
    _refuse_argument("math", argument)
    from math_verify import parse, verify  # takes a second to import

    # Its own timeouts use SIGALRM and turn into a reward of 0; the run's reward_timeout does not.
    def parsed(text: str) -> Any:
        return parse(text, parsing_timeout=None, raise_on_error=True)

    def math(completions: list[Any], answer: list[Any], **_: Any) -> list[float]:
        rewards = []
        for completion, right in zip(completions, answer, strict=True):
            gold = parsed(str(right)) or parsed(f"${right}$")
            if not gold:
                raise ValueError(f"answer {right!r} is no mathematical expression")
            guess = parsed(text_of(completion))
            rewards.append(float(verify(gold, guess, timeout_seconds=None, raise_on_error=True)))
        return rewards

    return math


BUILT_IN: dict[str, Callable[[str], RewardFunction]] = {
    "exact": exact,
    "regex": regex,
    "length": length,
    "math": math,
}


def _refuse_argument(name: str, argument: str) -> None:
    if argument:
        raise RewardError(f"reward '{name}' takes no argument, not '{argument}'")


def _last_answer(text: str) -> str:
    answers = ANSWER.findall(text)
    return (answers[-1] if answers else text).strip()
