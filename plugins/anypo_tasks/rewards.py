"""The reward functions that come with anypo: `exact`, `regex`, `length`, `math`.

Each is a function of the text after `NAME:` that returns the reward function.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from anypo import DeadlineError, RewardError, deadline

RewardFunction = Callable[..., list[float | None]]
MATH_SECONDS = 5.0
ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


def text_of(completion: Any) -> str:
    """The text of a completion: itself, or that of its messages."""
    if isinstance(completion, str):
        return completion
    return "".join(message["content"] for message in completion)


def exact(argument: str) -> RewardFunction:
    """1 where the last <answer>…</answer> (the whole text if none) equals the column `answer`."""
    _refuse_argument("exact", argument)

    def exact(completions: list[Any], answer: list[Any], **_: Any) -> list[float | None]:
        return [
            None
            if right is None
            else float(_last_answer(text_of(completion)) == str(right).strip())
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

    def regex(completions: list[Any], **_: Any) -> list[float | None]:
        return [float(bool(pattern.search(text_of(completion)))) for completion in completions]

    return regex


def length(argument: str) -> RewardFunction:
    """Minus the completion's length in tokens; give it a small weight, as in `length=0.01`."""
    _refuse_argument("length", argument)

    def length(completion_ids: list[list[int]], **_: Any) -> list[float | None]:
        return [-float(len(ids)) for ids in completion_ids]

    return length


def math(argument: str) -> RewardFunction:
    """1 where math-verify finds the completion's result equal to the column `answer`.

    A result that takes longer than `MATH_SECONDS` to work out, such as 9^9^9, is a wrong one.
    """
    _refuse_argument("math", argument)
    from math_verify import parse, verify  # takes a second to import

    # Its own timeouts raise outside the main thread, and it turns what is raised into "wrong".
    def parsed(text: str) -> Any:
        return parse(text, parsing_timeout=None)

    def judged(text: str, right: Any) -> float | None:
        if right is None:
            return None
        gold = parsed(str(right)) or parsed(f"${right}$")
        if not gold:
            raise ValueError(f"answer {right!r} is no mathematical expression")
        try:
            with deadline(MATH_SECONDS) as alarm:
                return float(verify(gold, parsed(text), timeout_seconds=None))
        except DeadlineError as error:
            if error.alarm is not alarm:  # the time of the whole call is up
                raise
            return 0.0

    def math(completions: list[Any], answer: list[Any], **_: Any) -> list[float | None]:
        return [judged(text_of(c), right) for c, right in zip(completions, answer, strict=True)]

    return math


def _refuse_argument(name: str, argument: str) -> None:
    if argument:
        raise RewardError(f"reward '{name}' takes no argument, not '{argument}'")


def _last_answer(text: str) -> str:
    answers = ANSWER.findall(text)
    return (answers[-1] if answers else text).strip()
