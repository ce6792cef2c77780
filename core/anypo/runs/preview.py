"""What an algorithm would read of its data, seen before anything is trained."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from anypo.composition.algorithm import Algorithm
from anypo.composition.synthetic import SyntheticSampler, SyntheticScorer
from anypo.data.dataset import Reader
from anypo.data.formats import Rows
from anypo.data.found import PromptSet, accept, usable
from anypo.data.load import load_rows
from anypo.data.mixture import shares_of
from anypo.data.tally import Limits, lost
from anypo.errors import DataError
from anypo.hooks.batch import Prompt, Sample
from anypo.rewards.load import load_reward
from anypo.rewards.scorer import GIVEN, Rewards
from anypo.runs.observer import Observer
from anypo.runs.options import RunConfig
from anypo.runs.run import settled
from anypo.runs.setup import limits_of, tokenizer_of
from anypo.runs.task import sources


@dataclass(frozen=True)
class Preview:
    """What would be read of a data set."""

    algorithm: Algorithm
    tokenizer: PreTrainedTokenizerBase
    limits: Limits
    rewards: Rewards
    rows: Rows
    share: float | None  # of all that is drawn; None: that of its size
    found: PromptSet
    refusal: str  # why a run would not begin with it; nothing if it would

    @property
    def lengths(self) -> dict[str, list[int]]:
        """Tokens of all prompts, also of those that are too long, and of the completions."""
        too_long = self.found.tally.too_long
        cut = set(too_long) if self.limits.long_prompts == "cut" else set[int]()
        rows = zip(self.found.numbers, self.found, strict=True)
        held: dict[str, list[int]] = {"prompt": [*too_long.values()]}
        for number, prompt in rows:
            held["prompt"] += [] if number in cut else [len(prompt.ids)]
            for column, completion in prompt.completions.items():
                held.setdefault(column, []).append(len(completion.ids))
        return held

    @property
    def notes(self) -> list[str]:
        """What a run would say of what is lost."""
        return list(lost(self.rows.name, self.found.tally, self.limits))

    @property
    def rewarded(self) -> dict[str, bool]:
        """The columns beside the prompt, and whether a reward may read them."""
        columns = self.found.tally.columns
        return {name: name not in GIVEN and self.rewards.reads(name) for name in columns}

    def examples(self, number: int) -> Iterator[tuple[int, Prompt, list[Sample]]]:
        """The first rows: their number, prompt, and what the algorithm makes of them by itself."""
        inputs = self.algorithm.inputs
        for place, prompt in enumerate(self.found[:number]):
            samples: list[Sample] = []
            if not (inputs.sampler or inputs.scorer):
                fake = SyntheticSampler(), SyntheticScorer()
                samples = self.algorithm.rollout([prompt], *fake, {}, self.found)
            yield int(self.found.numbers[place]), prompt, samples


def previews(algorithm: Algorithm, config: RunConfig, observer: Observer) -> Iterator[Preview]:
    """What an algorithm would read of each of its data sets; nothing of the model is loaded.

    Raises:
        AnypoError: There is no such model or data set, or it is of another format.
    """
    algorithm, config, task = settled(algorithm, config, observer)
    model, parts, _ = sources(config, task, observer.warming_up)
    tokenizer = tokenizer_of(model, config, trusted=config.trust_remote_code)
    limits = limits_of(model, config, trusted=config.trust_remote_code)
    given = [load_reward(spec, timeout=config.reward_timeout) for spec in config.reward]
    rewards = Rewards(given, tokenizer, config.reward_timeout)
    reader = Reader(algorithm, tokenizer, limits, observer.note, progress=observer.preparing)
    check = rewards.check if algorithm.inputs.scorer and given else accept
    shares: Sequence[float | None] = shares_of(parts) or [None] * len(parts)
    for part, share in zip(parts, shares, strict=True):
        rows = load_rows(part.name)
        found, refusal = reader.found(rows, algorithm.inputs.wanted, algorithm.inputs), ""
        try:
            found = usable(found, limits, check, skip_bad=config.bad_rows == "skip")
        except DataError as error:
            refusal = str(error)
        yield Preview(algorithm, tokenizer, limits, rewards, rows, share, found, refusal)
