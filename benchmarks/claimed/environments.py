"""Environments of claims; `retry` comes with anypo."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anypo import Environment, Turn
from anypo_tasks.retry.environment import Retry


class Number(Retry):
    """Says of a wrong answer that it is worth nothing, and no more."""

    def step(self, message: dict[str, Any]) -> Turn:
        """Judge the answer that a reply marks."""
        turn = super().step(message)
        return turn if turn.done else Turn("0")


class Endless(Environment):
    """Asks the next question for as long as it may."""

    def reset(self, row: Mapping[str, Any]) -> None:
        """Begin with the first."""
        self.asked = 10

    def step(self, message: dict[str, Any]) -> Turn:
        """Ask another one; a reply is worth its length, so that not all are worth the same."""
        self.asked += 1
        return Turn(f"{self.asked}+{self.asked}", reward=float(len(message["content"])))
