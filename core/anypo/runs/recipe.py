"""All that a run is told, and the TOML file that repeats it."""

import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from anypo.errors import ConfigError


@dataclass
class Recipe:
    """All that a run is told: the algorithm, its knobs and swapped stages, the run options."""

    algorithm: str = ""  # plugin names joined by `+`
    options: dict[str, Any] = field(default_factory=dict)
    knobs: dict[str, Any] = field(default_factory=dict)
    hooks: dict[str, str] = field(default_factory=dict)

    def flat(self) -> dict[str, Any]:
        """All of it in one table, with `knobs/` and `hooks/` before what is no option."""
        tables = {"knobs": self.knobs, "hooks": self.hooks}
        named = {f"{t}/{name}": value for t, held in tables.items() for name, value in held.items()}
        return {"algorithm": self.algorithm, **self.options, **named}


def read_recipe(path: str) -> Recipe:
    """The recipe in a TOML file.

    Raises:
        ConfigError: The file does not exist, is no TOML, or holds what no recipe does.
    """
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"config '{path}' cannot be read: {error}") from error
    tables = {name: content.pop(name, {}) for name in ("knobs", "hooks")}
    algorithm = content.pop("algorithm", "")
    if not isinstance(algorithm, str) or not all(isinstance(t, dict) for t in tables.values()):
        raise ConfigError(f"config '{path}': algorithm is a text, [knobs] and [hooks] are tables")
    return Recipe(algorithm, content, **tables)


def as_written(name: str, value: Any) -> Any:
    """A value as TOML holds it: paths and choices as texts, sets as lists.

    Raises:
        ConfigError: It cannot be written down, so the run could not be repeated.
    """
    import tomli_w

    try:
        plain = to_jsonable_python(value)
        tomli_w.dumps({name: plain})
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"'{name}' is {value!r:.60}, which config.toml cannot hold: give it a type of TOML"
        ) from error
    return plain


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write the recipe as TOML."""
    import tomli_w

    from anypo.support.saving import write_file  # with torch

    content = {
        "algorithm": recipe.algorithm,
        **{name: value for name, value in recipe.options.items() if value is not None},
        "knobs": recipe.knobs,
        "hooks": recipe.hooks,
    }
    write_file(path, tomli_w.dumps(content))
