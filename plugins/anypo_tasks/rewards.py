"""The reward functions that come with anypo: `exact`, `regex`, `length`, `math`.

Each is a function of the text after `NAME:` that returns the reward function. `exact` and `math`
agree on where an answer stands: see `answers.final`.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from typing import Any

from anypo import DeadlineError, RewardError, deadline
from anypo_tasks import answers

RewardFunction = Callable[..., list[float | None]]
MATH_SECONDS = 5.0


def text_of(completion: Any) -> str:
    """The text of a completion: itself, or what its replies say."""
    return "".join(_replies(completion))


def last_of(completion: Any) -> str:
    """The text of a completion that holds its answer: itself, or what its last reply says."""
    return _replies(completion)[-1]


def _replies(completion: Any) -> list[str]:
    if isinstance(completion, str):
        return [completion]
    replies = [message for message in completion if message["role"] == "assistant"]
    return [reply.get("content") or "" for reply in replies] or [""]


def finding(finds: Callable[[Any], bool]) -> Callable[[RewardFunction], RewardFunction]:
    """Have a reward function say what it looks for in a completion."""

    def say(function: RewardFunction) -> RewardFunction:
        function.__dict__["finds"] = finds
        return function

    return say


def marks_answer(completion: Any) -> bool:
    """A final answer, as <answer>…</answer>, \\boxed{…}, #### … or "the answer is …"."""
    return answers.is_marked(last_of(completion))


def telling(answer_of: Callable[[str], str]) -> Callable[[Any], RewardFunction]:
    """Have a reward function tell the answers that it finds in texts, so that they can be voted on.

    Two completions with the same answer must have the same score.
    """

    def tells(function: Any) -> Any:
        function.answer_of = lambda completion: answer_of(last_of(completion))
        return function

    return tells


def exact(argument: str) -> RewardFunction:
    """1 where the completion's final answer is, letter by letter, that of the column `answer`."""
    _refuse_argument("exact", argument)

    @finding(marks_answer)
    @telling(answers.final)
    def exact(completions: list[Any], answer: list[Any], **_: Any) -> list[float | None]:
        return [
            None
            if right is None
            else float(answers.final(last_of(completion)) == answers.final(str(right)))
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

    def has_pattern(completion: Any) -> bool:
        """The pattern."""
        return bool(pattern.search(text_of(completion)))

    @finding(has_pattern)
    def regex(completions: list[Any], **_: Any) -> list[float | None]:
        return [float(has_pattern(completion)) for completion in completions]

    return regex


def length(argument: str) -> RewardFunction:
    """Minus the tokens that the policy wrote; give it a small weight, as in `length=0.01`."""
    _refuse_argument("length", argument)

    def length(
        completion_ids: list[list[int]], completion_mask: list[list[bool]] | None = None, **_: Any
    ) -> list[float | None]:
        written = completion_mask or [[True] * len(ids) for ids in completion_ids]
        return [-float(sum(mask)) for mask in written]

    return length


def math(argument: str) -> RewardFunction:
    """1 where the completion's final answer equals that of the column `answer`; see `answers`.

    Formulas are compared by math-verify. A result that takes longer than `MATH_SECONDS` to work
    out, such as 9^9^9, is a wrong one.
    """
    _refuse_argument("math", argument)
    import math_verify  # takes a second, which is nobody's to work out a result

    logging.getLogger(math_verify.__name__).setLevel(logging.ERROR)  # it warns of no timeouts

    def judged(text: str, right: Any) -> float | None:
        if right is None:
            return None
        if not str(right).strip():
            raise ValueError(f"answer {right!r} is empty")
        try:
            with deadline(MATH_SECONDS) as alarm:
                return float(answers.equal(answers.final(text), answers.final(str(right))))
        except DeadlineError as error:
            if error.alarm is not alarm:  # the time of the whole call is up
                raise
            return 0.0

    @finding(marks_answer)
    @telling(answers.spelt)
    def math(completions: list[Any], answer: list[Any], **_: Any) -> list[float | None]:
        return [judged(last_of(c), right) for c, right in zip(completions, answer, strict=True)]

    return math


def _refuse_argument(name: str, argument: str) -> None:
    if argument:
        raise RewardError(f"reward '{name}' takes no argument, not '{argument}'")
