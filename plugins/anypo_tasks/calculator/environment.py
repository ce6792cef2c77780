"""The environment `calculator`: a tool that calculates, for whoever calls it."""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from anypo import Environment, Turn
from anypo_tasks import answers

LONGEST = 100  # characters of an expression
LARGEST = 10**12  # of what comes out
OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}


class Calculator(Environment):
    """A tool, `calculate`; a right answer, called for or not, is worth 1."""

    task: ClassVar = "calculator"

    @property
    def tools(self) -> Sequence[Callable[..., Any]]:
        """What may be called."""
        return (self.calculate,)

    def reset(self, row: Mapping[str, Any]) -> None:
        """Read the right answer, of the column `answer`."""
        self.right = str(row["answer"])

    def calculate(self, expression: str) -> str:
        """Calculate with numbers.

        Args:
            expression: Numbers with + - * / and brackets.
        """
        if len(expression) > LONGEST:
            raise ValueError("too long")
        return str(_value(ast.parse(expression.strip(), mode="eval").body))

    def step(self, message: dict[str, Any]) -> Turn:
        """Judge the answer that a reply marks."""
        return Turn(reward=float(answers.final(message["content"]) == self.right), done=True)


def _value(node: ast.AST) -> Any:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            found = number
        case ast.UnaryOp(op=sign, operand=of) if type(sign) in OPERATORS:
            found = OPERATORS[type(sign)](_value(of))
        case ast.BinOp(left=left, op=sign, right=right) if type(sign) in OPERATORS:
            found = OPERATORS[type(sign)](_value(left), _value(right))
        case _:
            raise ValueError("only numbers, + - * / and brackets")
    if abs(found) > LARGEST:
        raise ValueError("too large")
    return found
