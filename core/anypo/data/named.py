"""Several data sets, told apart by names."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator

NAMED = re.compile(r"(?P<name>[\w-]+)=(?P<source>.+)")
TAKEN = ("score", "loss", "ema")  # as a name, it would be taken for a part of another metric


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
    """One as a list of one, paths as texts, and rows that are objects as the file of them."""
    is_several = isinstance(value, list | tuple) and not _are_rows(value)
    return [_source(given) for given in (value if is_several else [value]) if given is not None]


def _source(given: Any) -> Any:
    if isinstance(given, Mapping):
        raise ValueError("a dictionary is no data set: give one of its values, such as its 'train'")
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        return str(given) if isinstance(given, PurePath) else given
    from anypo.data.given import written  # more than the command line needs to show its help

    return written(given)


def _are_rows(given: Sequence[Any]) -> bool:
    return any(isinstance(one, Mapping) for one in given)


def _with_names(value: Any) -> Any:
    """A table of data sets as what the command line gives."""
    is_table = isinstance(value, Mapping)
    return [f"{n}={_source(given)}" for n, given in value.items()] if is_table else value


def _checked(specs: list[str]) -> list[str]:
    named_sets(specs)
    return specs


Listed = BeforeValidator(_listed)
DataSets = Annotated[list[str], Listed, BeforeValidator(_with_names), AfterValidator(_checked)]
