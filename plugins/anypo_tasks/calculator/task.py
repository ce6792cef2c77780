"""What `anypo run --environment calculator` trains on when it is given neither model nor data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from anypo_tasks.addition.task import SEED
from anypo_tasks.making import code_fingerprint, write_rows

CODE = ("calculator/problems.py", "calculator/environment.py", "addition/model.py")


class CalculatorTask:
    """Multiplies two-digit numbers; its model mostly guesses instead of calling the tool."""

    reward: ClassVar[list[str]] = []  # beside that of the environment
    options: ClassVar = {
        "environment": "calculator",
        "max_turns": 3,
        "max_conversation_length": 240,
        "steps": 60,
        "minibatches": 2,
        "learning_rate": 5e-4,
        "max_completion_length": 72,
        "eval_every": 20,
    }
    knobs: ClassVar[dict[str, object]] = {}

    def fingerprint(self) -> str:
        """Changes whenever the code that makes the model does."""
        return code_fingerprint(Path(__file__).parents[1] / name for name in CODE)

    def make(self, folder: Path, progress: Callable[[int, int], None]) -> None:
        """Make the model, and the rows."""
        from transformers.utils.chat_template_utils import get_json_schema

        from anypo_tasks.addition import model  # imports what only training needs
        from anypo_tasks.calculator import problems
        from anypo_tasks.calculator.environment import Calculator

        train, held_out = problems.problems(SEED)
        tools = [get_json_schema(tool) for tool in Calculator().tools]
        conversations = problems.demonstrations(train, tools, SEED)
        tokenizer = model.build_tokenizer(
            problems.CHAT_TEMPLATE,
            (*model.ROLES, "tool"),
            (*model.TAGS, "<tool_call>", "</tool_call>"),
        )
        model.make(folder, tokenizer, conversations, SEED, progress)
        write_rows(folder, train, held_out)
