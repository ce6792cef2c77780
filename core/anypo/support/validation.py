"""Say in one clause what pydantic refused."""

from pydantic import ValidationError


def refusal(error: ValidationError, name: str = "") -> str:
    """The first thing refused: its name, or `name` if it is one value alone, value and reason."""
    problem = error.errors()[0]
    name = ".".join(filter(None, (name, *map(str, problem["loc"])))) or "the combination"
    reason = problem["msg"].removeprefix("Value error, ")
    return f"{name} = {problem['input']!r:.200} is refused: {reason[0].lower()}{reason[1:]}"
