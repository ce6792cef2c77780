"""What was found in the rows of a data set, and what of it is lost."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from anypo.data.formats import CONVERSATIONS, Row
from anypo.data.messages import ROLES
from anypo.errors import DataError
from anypo.hooks.batch import Prompt


@dataclass
class Tally:
    """What the rows of a data set hold, and what was done to them; JSON can say all of it."""

    total: int = 0  # rows
    longest: int = 0  # tokens of a prompt
    largest: int = 0  # number of a token, of prompts and completions
    columns: list[str] = field(default_factory=list)  # of prompts, beside the prompt itself
    cut: int = 0  # completions that were longer than allowed
    too_long: dict[int, int] = field(default_factory=dict)  # tokens of prompts, by the row
    identical: list[int] = field(default_factory=list)  # rows left out: nothing tells them apart
    cut_alike: list[int] = field(default_factory=list)  # rows left out: nothing but what was cut
    unlearnt: int = 0  # replies that are not learnt: later messages change how they are rendered
    dropped: list[int] = field(default_factory=list)  # rows of which the chat template hides a part
    bad: dict[int, str] = field(default_factory=dict)  # rows left out: why they cannot be used
    roles: dict[str, int] = field(default_factory=dict)  # unusual ones, and who has them first

    @classmethod
    def read(cls, told: Mapping[str, Any]) -> "Tally":
        """What JSON says, whose keys are texts."""
        rows = {name: {int(k): v for k, v in told[name].items()} for name in ("too_long", "bad")}
        return cls(**{**told, **rows})

    def meet(self, row: Row) -> None:
        """Take note of a row that is to be read."""
        self.total = row.number
        for content in (row.columns.get(column) for column in CONVERSATIONS):
            for message in content if isinstance(content, list) else ():
                role = message.get("role") if isinstance(message, dict) else None
                if isinstance(role, str) and role not in ROLES:
                    self.roles.setdefault(role, row.number)

    def add(self, prompt: Prompt) -> None:
        """Take note of a prompt that is kept."""
        ids = (prompt.ids, *(completion.ids for completion in prompt.completions.values()))
        self.longest = max(self.longest, len(prompt.ids))
        self.largest = max(self.largest, *(max(tokens, default=0) for tokens in ids))
        self.columns += [name for name in prompt.columns if name not in self.columns]


@dataclass(frozen=True)
class Limits:
    """How long prompts and completions may be, in tokens, and what becomes of longer prompts."""

    prompt: int
    completion: int
    long_prompts: str = "drop"  # or cut, or error


def lost(name: str, tally: Tally, limits: Limits) -> Iterator[str]:
    """What is worth telling of the rows of a data set that is called `name`."""
    if tally.too_long:
        yield _too_long(name, tally.too_long, limits)
    if tally.identical:
        yield (
            f"{len(tally.identical)} rows of '{name}' hold the same completion twice and are left "
            f"out (row {tally.identical[0]} is the first)"
        )
    if tally.cut_alike:
        yield (
            f"the completions of {len(tally.cut_alike)} rows of '{name}' differ only beyond "
            f"max_completion_length ({limits.completion}); the rows are left out "
            f"(row {tally.cut_alike[0]} is the first)"
        )
    if tally.unlearnt:
        yield (
            f"{tally.unlearnt} replies of '{name}' are not learnt: the chat template renders them "
            "otherwise once later messages follow; rows that end with them would teach them"
        )
    if tally.dropped:
        yield (
            f"the chat template does not show all that replies of {len(tally.dropped)} rows of "
            f"'{name}' say, such as thoughts or tool calls (row {tally.dropped[0]} is the first); "
            "put it into their content, or give the tokenizer a template that shows it"
        )
    if tally.cut:
        yield (
            f"{tally.cut} completions of '{name}' are longer than max_completion_length "
            f"({limits.completion}) and were cut"
        )
    for role, number in tally.roles.items():
        yield (
            f"messages of '{name}' have the role '{role}' (row {number} is the first), of "
            "which few chat templates know"
        )


def _too_long(name: str, lengths: Mapping[int, int], limits: Limits) -> str:
    whose = f"the prompts of {len(lengths)} rows of '{name}'"
    which = f"row {next(iter(lengths))} is the first, the longest has {max(lengths.values())}"
    if limits.long_prompts == "cut":
        return f"{whose} were cut to their last {limits.prompt} tokens ({which})"
    return (
        f"{whose} have more than {limits.prompt} tokens ({which}); the rows are left out: "
        "--max-prompt-length may allow more, and --long-prompts cut keeps the ends"
    )


def nothing_left(name: str, tally: Tally, limits: Limits) -> DataError:
    """Why no row of a data set is left, although none is bad."""
    too_long = {} if limits.long_prompts == "cut" else tally.too_long
    reasons = {
        "{} hold the same completion twice": tally.identical,
        "the completions of {} differ only beyond max_completion_length "
        f"({limits.completion}): raise it": tally.cut_alike,
        f"the prompts of {{}} have more than {limits.prompt} tokens, the shortest "
        f"{min(too_long.values(), default=0)}: raise max_prompt_length if the model attends to "
        "more, or have their ends kept (--long-prompts cut)": too_long,
    }
    told = "; ".join(reason.format(len(rows)) for reason, rows in reasons.items() if rows)
    return DataError(f"no row of '{name}' is left: {told}")
