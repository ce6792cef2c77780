"""Several data sets, told apart by names."""

import re
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

NAMED = re.compile(r"(?P<name>[\w-]+)=(?P<source>.+)")
TAKEN = ("score", "loss")  # as a name, it would be taken for a part of another metric


def named_sets(specs: list[str]) -> dict[str, str]:
    """The data sets that are given as `NAME=SOURCE`, by their names; one alone needs none.

    A file that is called like that is told apart by its folder: `./a=b.jsonl`.

    Raises:
        ValueError: They cannot be told apart.
    """
    found = [(m["name"], m["source"]) if (m := NAMED.fullmatch(s)) else ("", s) for s in specs]
    names = [name for name, _ in found]
    if len(found) > 1 and "" in names:
        nameless = found[names.index("")][1]
        raise ValueError(f"of several data sets each needs a name: NAME={nameless}")
    for name in names:
        if name in TAKEN or names.count(name) > 1:
            raise ValueError(f"'{name}' cannot be the name of a data set here: choose another")
    return dict(found)


def _listed(value: Any) -> Any:
    """One as a list of one, paths as texts."""
    given = value if isinstance(value, list | tuple) else [value]
    return [str(x) if isinstance(x, PurePath) else x for x in given if x is not None]


def _checked(specs: list[str]) -> list[str]:
    named_sets(specs)
    return specs


Listed = BeforeValidator(_listed)
DataSets = Annotated[list[str], Listed, AfterValidator(_checked)]
