"""What an algorithm reads of data sets: prompts to learn from, to complete, and to measure."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache, partial
from typing import Any

from transformers import PreTrainedTokenizerBase

from anypo.composition.algorithm import Algorithm
from anypo.composition.compose import compose
from anypo.data.bad_rows import told
from anypo.data.fingerprint import fingerprint
from anypo.data.formats import Row, Rows, columns_in_reach, converted, ways_to
from anypo.data.found import Check, PromptSet, accept, all_of, usable
from anypo.data.kept import kept
from anypo.data.progress import Progress, silent, watch
from anypo.data.prompts import read_prompts
from anypo.data.tally import Limits, Tally, lost
from anypo.data.tokens import Tokens
from anypo.errors import DataError, KnobError, PluginError
from anypo.hooks import registry
from anypo.hooks.batch import Prompt
from anypo.hooks.rollout import Inputs

FEW = 6  # algorithms that an error names
SMALL = 4 * 2**20  # bytes of a data set that is read anew sooner than it is kept
# Fields of a reader on which no token depends, or that say so otherwise.
BESIDE = {"algorithm", "tokenizer", "note", "skip_bad", "check", "progress", "talk"}


@dataclass(frozen=True)
class Reader:
    """Reads the rows of data sets for an algorithm. All its methods raise DataError."""

    algorithm: Algorithm | None  # None: prompts are only completed
    tokenizer: PreTrainedTokenizerBase
    limits: Limits
    note: Callable[[str], None]  # told what is lost
    skip_bad: bool = False  # leave rows out that cannot be used, instead of raising
    check: Check = accept  # refuses rows that cannot be scored
    progress: Progress = silent  # told how many rows of how many are read
    tools: Sequence[Any] = ()  # which the chat template is given with every conversation
    talk: Check = accept  # refuses prompts that an environment cannot talk about

    def to_learn_from(self, rows: Rows) -> PromptSet:
        """Prompts with all that the rollout reads."""
        assert self.algorithm is not None, "who learns does so by an algorithm"
        inputs = self.algorithm.inputs
        checks = self.talk if inputs.sampler else accept, self.check if inputs.scorer else accept
        return self._prompts(rows, inputs.wanted, inputs, all_of(checks))

    def to_measure(self, rows: Rows) -> Sequence[Prompt]:
        """What `to_learn_from` gives, to measure the loss on; none, if the data set lacks it."""
        return self.to_learn_from(rows) if self.has_loss(rows) else []

    def has_loss(self, rows: Rows) -> bool:
        """Whether they have all that the algorithm learns from."""
        assert self.algorithm is not None, "what is measured is its loss"
        wanted = self.algorithm.inputs.wanted
        return {"prompt", *wanted} <= {*columns_in_reach(rows.columns, wanted)}

    def to_complete(self, rows: Rows, *, has_loss: bool) -> Sequence[Prompt]:
        """Prompts alone; none, if the rows have none but there is a loss to measure on them."""
        wanted = asked_in(rows)
        there = columns_in_reach(rows.columns, wanted)
        if "prompt" in there:
            return self._prompts(rows, wanted, Inputs(), all_of([self.talk, self.check]))
        lack = f"data set '{rows.name}' has no column 'prompt', only {', '.join(there)}"
        if not has_loss:
            raise DataError(lack)
        self.note(f"{lack}: its loss is measured, but no reward scores anything")
        return []

    def _prompts(
        self, rows: Rows, wanted: Collection[str], inputs: Inputs, check: Check
    ) -> PromptSet:
        found = self.found(rows, wanted, inputs)
        prompts = usable(found, self.limits, check, skip_bad=self.skip_bad)
        if found.tally.bad:
            self.note(f"{told(rows.name, found.tally.bad, found.tally.total)}; left out")
        for note in lost(rows.name, found.tally, self.limits):
            self.note(note)
        return prompts

    def found(self, rows: Rows, wanted: Collection[str], inputs: Inputs) -> PromptSet:
        """All prompts of rows, brought into the format with the wanted columns, good or bad.

        Those of a large data set are kept in the cache.
        """
        read = partial(self._read, rows, wanted, inputs)
        if sum(file.stat().st_size for file in rows.files) < SMALL:
            tally = Tally()
            pairs = list(read(tally))
            return PromptSet(rows.name, [p for _, p in pairs], [n for n, _ in pairs], tally)
        own = (getattr(self, f.name) for f in fields(self) if f.name not in BESIDE)
        settings = [rows.name, sorted(wanted), _settled(inputs), self._scored, *own]
        return kept(rows.name, fingerprint(rows.files, self.tokenizer, settings), read)

    @property
    def _scored(self) -> bool:
        return self.algorithm is not None and not self.algorithm.generates

    def _read(
        self, rows: Rows, wanted: Collection[str], inputs: Inputs, tally: Tally
    ) -> Iterator[tuple[int, Prompt]]:
        there = columns_in_reach(rows.columns, wanted)
        if missing := sorted({"prompt", *inputs.wanted}.difference(there)):
            raise DataError(self._lack(rows.name, there, missing))
        watched = watch(rows, rows.total, partial(self.progress, f"tokenising {rows.name}"))
        made = map(self._with_tools, converted(watched, ways_to(wanted, rows.columns)))
        tokens = Tokens(self.tokenizer, scored=self._scored)
        return read_prompts(made, tokens, inputs, self.limits, tally)

    def _with_tools(self, row: Row) -> Row:
        if not self.tools:
            return row
        if row.columns.get("tools"):
            return replace(row, flaw="it names tools, but those of the environment are called")
        return replace(row, columns={**row.columns, "tools": list(self.tools)})

    def _lack(self, name: str, there: Collection[str], missing: Sequence[str]) -> str:
        assert self.algorithm is not None, "of prompts alone nothing else is asked"
        names = learning_from(there, self.algorithm)
        fitting = ", ".join(names[:FEW]) + (" and others" if len(names) > FEW else "")
        if missing != ["prompt"]:
            fitting = fitting or "only an algorithm that samples"
        advice = f"{fitting} would learn from it" if fitting else "rename the one that is meant"
        lack = f"data set '{name}' has no column '{missing[0]}', only {', '.join(there)}"
        return f"{lack}; {advice}"


def asked_in(rows: Rows) -> list[str]:
    """What is to be wanted so that the prompts of rows are there to be completed."""
    in_conversation = "prompt" not in rows.columns and "messages" in rows.columns
    return ["completion"] if in_conversation else []


def _settled(inputs: Inputs) -> list[list[str]]:
    return [sorted(inputs.completions), sorted(inputs.columns)]


def learning_from(columns: Collection[str], like: Algorithm) -> list[str]:
    """The algorithms that learn from the completions of a data set with these columns.

    Looked for among the plugins of the packages that an algorithm is made of: its code runs anyway.
    Those that stand on the fewest others come first.
    """
    plugins = like.manager.get_plugins()
    packages = {type(plugin).__module__.partition(".")[0] for plugin in plugins}
    fitting = []
    for entry in registry.entries():
        if entry.entry_point.module.partition(".")[0] not in packages:
            continue
        inputs, depth = _asked_by(entry)
        if inputs.completions and inputs.wanted <= {*columns_in_reach(columns, inputs.wanted)}:
            fitting.append((depth, entry.name))
    return [name for _, name in sorted(fitting)]


@cache
def _asked_by(entry: registry.Entry) -> tuple[Inputs, int]:
    """What an algorithm needs of a row, and on how much it stands."""
    try:
        algorithm = compose(entry.full_name)
    except (PluginError, KnobError):  # broken, a modifier, or nothing without a knob
        return Inputs(), 0
    return algorithm.inputs, len(algorithm.layers)
