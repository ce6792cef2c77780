"""Say in one clause what pydantic refused."""

from pydantic import ValidationError


def refusal(error: ValidationError, name: str = "") -> str:
    """The first thing refused: its name, its value and the reason.

    Args:
        error: Of a model, or of the single value called `name`.
        name: Of the value, where the error does not tell.
    """
    problem = error.errors()[0]
    name = ".".join(filter(None, (name, *map(str, problem["loc"])))) or "the combination"
    reason = problem["msg"][0].lower() + problem["msg"][1:]
    return f"{name} = {problem['input']!r} is refused: {reason}"
