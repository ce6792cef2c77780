"""What an algorithm reads of data sets: prompts to learn from, to complete, and to measure."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from anypo.composition.algorithm import Algorithm
from anypo.composition.compose import compose
from anypo.data.bad_rows import told
from anypo.data.formats import CONVERSATIONS, Row, columns_in_reach, converted, usual_columns
from anypo.data.messages import ROLES
from anypo.data.prompts import Prompts, accept, to_prompts
from anypo.errors import DataError, KnobError, PluginError
from anypo.hooks import registry
from anypo.hooks.batch import Prompt
from anypo.hooks.rollout import Inputs


@dataclass(frozen=True)
class Reader:
    """Reads the rows of data sets for an algorithm. All its methods raise DataError."""

    algorithm: Algorithm | None  # None: prompts are only completed
    tokenizer: PreTrainedTokenizerBase
    max_prompt_length: int  # tokens
    max_completion_length: int  # tokens
    note: Callable[[str], None]  # told what is lost
    skip_bad: bool = False  # leave rows out that cannot be used, instead of raising
    check: Callable[[Prompt], None] = accept  # refuses rows that cannot be scored

    def to_learn_from(self, name: str, rows: Sequence[Row]) -> list[Prompt]:
        """Prompts with all that the rollout reads."""
        assert self.algorithm is not None, "who learns does so by an algorithm"
        inputs = self.algorithm.inputs
        rows = converted(rows, inputs.wanted)
        there = usual_columns(rows)
        missing = sorted({"prompt", *inputs.wanted}.difference(there))
        if missing:
            fitting = ", ".join(learning_from(there, self.algorithm))
            if missing != ["prompt"]:
                fitting = fitting or "only an algorithm that samples"
            advice = f"{fitting} would learn from it" if fitting else "rename the one that is meant"
            raise DataError(
                f"data set '{name}' has no column '{missing[0]}', only {', '.join(there)}; {advice}"
            )
        return self._tokenised(name, rows, inputs, self.check if inputs.scorer else accept)

    def to_measure(self, name: str, rows: Sequence[Row]) -> list[Prompt]:
        """What `to_learn_from` gives, to measure the loss on; none, if the data set lacks it."""
        assert self.algorithm is not None, "what is measured is its loss"
        wanted = self.algorithm.inputs.wanted
        has_all = {"prompt", *wanted} <= columns_in_reach(usual_columns(rows), wanted)
        return self.to_learn_from(name, rows) if has_all else []

    def to_complete(self, name: str, rows: Sequence[Row], *, has_loss: bool) -> list[Prompt]:
        """Prompts alone; none, if the rows have none but there is a loss to measure on them."""
        there = usual_columns(rows)
        in_conversation = "prompt" not in there and "messages" in there
        rows = converted(rows, ["completion"] if in_conversation else [])
        there = usual_columns(rows)
        if "prompt" in there:
            return self._tokenised(name, rows, Inputs(), self.check)
        lack = f"data set '{name}' has no column 'prompt', only {', '.join(there)}"
        if not has_loss:
            raise DataError(lack)
        self.note(f"{lack}: its loss is measured, but no reward scores anything")
        return []

    def _tokenised(
        self, name: str, rows: Sequence[Row], inputs: Inputs, check: Callable[[Prompt], None]
    ) -> list[Prompt]:
        found = to_prompts(
            name,
            rows,
            self.tokenizer,
            inputs,
            self.max_prompt_length,
            self.max_completion_length,
            scored=self.algorithm is not None and not self.algorithm.generates,
            skip_bad=self.skip_bad,
            check=check,
        )
        if found.bad:
            self.note(f"{told(name, found.bad, rows[-1].number)}; left out")
        for lost in _lost(name, found, self.max_completion_length):
            self.note(lost)
        for role, number in _odd_roles(rows).items():
            self.note(
                f"messages of '{name}' have the role '{role}' (row {number} is the first), of "
                "which few chat templates know"
            )
        return found.prompts


def learning_from(columns: Collection[str], like: Algorithm) -> list[str]:
    """The algorithms that learn from the completions of a data set with these columns.

    Looked for among the plugins of the packages that an algorithm is made of: its code runs anyway.
    """
    plugins = like.manager.get_plugins()
    packages = {type(plugin).__module__.partition(".")[0] for plugin in plugins}
    fitting = []
    for entry in registry.entries():
        if entry.entry_point.module.partition(".")[0] not in packages:
            continue
        try:
            inputs = compose(f"{entry.distribution}:{entry.name}").inputs
        except (PluginError, KnobError):  # broken, a modifier, or nothing without a knob
            continue
        if inputs.completions and inputs.wanted <= columns_in_reach(columns, inputs.wanted):
            fitting.append(entry.name)
    return fitting


def _odd_roles(rows: Sequence[Row]) -> dict[str, int]:
    """Roles that are not usual, each with the number of the first row that has it."""
    first: dict[str, int] = {}
    for row in rows:
        for content in (row.columns.get(column) for column in CONVERSATIONS):
            for message in content if isinstance(content, list) else ():
                role = message.get("role") if isinstance(message, dict) else None
                if isinstance(role, str) and role not in ROLES:
                    first.setdefault(role, row.number)
    return first


def _lost(name: str, found: Prompts, limit: int) -> Iterator[str]:
    if found.identical:
        yield (
            f"{len(found.identical)} rows of '{name}' hold the same completion twice and are left "
            f"out (row {found.identical[0]} is the first)"
        )
    if found.cut_alike:
        yield (
            f"the completions of {len(found.cut_alike)} rows of '{name}' differ only beyond "
            f"max_completion_length ({limit}); the rows are left out (row {found.cut_alike[0]} is "
            "the first)"
        )
    if found.unlearnt:
        yield (
            f"{found.unlearnt} replies of '{name}' are not learnt: the chat template renders them "
            "otherwise once later messages follow; rows that end with them would teach them"
        )
    if found.dropped:
        yield (
            f"the chat template does not show all that replies of {len(found.dropped)} rows of "
            f"'{name}' say, such as thoughts or tool calls (row {found.dropped[0]} is the first); "
            "put it into their content, or give the tokenizer a template that shows it"
        )
    if found.cut:
        yield (
            f"{found.cut} completions of '{name}' are longer than max_completion_length ({limit}) "
            "and were cut"
        )
