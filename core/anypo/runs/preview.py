"""What an algorithm would read of its data, seen before anything is trained."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from anypo.composition.algorithm import Algorithm
from anypo.composition.synthetic import SyntheticSampler, SyntheticScorer
from anypo.data.dataset import Reader, asked_in
from anypo.data.formats import Rows
from anypo.data.found import PromptSet, accept, all_of, usable
from anypo.data.load import load_rows
from anypo.data.mixture import shares_of
from anypo.data.tally import Limits, lost
from anypo.errors import DataError
from anypo.hooks.batch import Prompt, Sample
from anypo.hooks.rollout import Inputs
from anypo.hooks.specs import beginning
from anypo.rewards.scorer import Rewards
from anypo.runs.observer import Observer
from anypo.runs.options import RunConfig
from anypo.runs.run import settled
from anypo.runs.setup import limits_of, tokenizer_of
from anypo.runs.talking import environments_of, rewards_of, talk_of, tools_of
from anypo.runs.task import sources


@dataclass(frozen=True)
class Preview:
    """What would be read of a data set.

    Attributes:
        share: Of all that is drawn; None: that of its size, or nothing is learnt from it.
        inputs: What is read of a row: without completions, prompts to be completed.
        is_held_out: Whether it is measured on, and not learnt from.
        refusal: Why a run would not begin with it; nothing if it would.
    """

    algorithm: Algorithm
    tokenizer: PreTrainedTokenizerBase
    limits: Limits
    rewards: Rewards
    rows: Rows
    share: float | None
    inputs: Inputs
    is_held_out: bool
    found: PromptSet
    refusal: str

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
        return {
            name: name not in self.rewards.given and self.rewards.reads(name) for name in columns
        }

    def examples(self, number: int) -> Iterator[tuple[int, Prompt, list[Sample]]]:
        """The first rows: their number, prompt, and what the algorithm makes of them by itself."""
        is_learnt = self.inputs.completions and not (self.inputs.sampler or self.inputs.scorer)
        for place, prompt in enumerate(self.found[:number]):
            samples: list[Sample] = []
            if is_learnt:
                fake = SyntheticSampler(), SyntheticScorer()
                samples = self.algorithm.rollout([prompt], *fake, beginning(), self.found)
            yield int(self.found.numbers[place]), prompt, samples


def previews(algorithm: Algorithm, config: RunConfig, observer: Observer) -> Iterator[Preview]:
    """What an algorithm would read of each of its data sets; nothing of the model is loaded.

    Raises:
        AnypoError: There is no such model or data set, or it is of another format.
    """
    algorithm, config, task = settled(algorithm, config, observer)
    model, parts, held_out = sources(config, task, observer.warming_up)
    tokenizer = tokenizer_of(model, config, trusted=config.trust_remote_code)
    limits = limits_of(model, config, trusted=config.trust_remote_code)
    environments = environments_of(config)
    needed = algorithm.inputs.scorer or bool(config.eval_data)
    given = rewards_of(config, environments, needed=needed)
    talks = environments is not None
    rewards = Rewards(given, tokenizer, config.reward_timeout, talks=talks)
    tell = observer.note, False, accept, observer.preparing
    reader = Reader(algorithm, tokenizer, limits, *tell, tools_of(environments))
    skip = config.bad_rows == "skip"
    shares: Sequence[float | None] = shares_of(parts) or [None] * len(parts)
    learnt = [(part.name, share, False) for part, share in zip(parts, shares, strict=True)]
    for name, share, is_held_out in [*learnt, *((x, None, True) for x in held_out.values())]:
        rows = load_rows(name)
        inputs, wanted = algorithm.inputs, algorithm.inputs.wanted
        if is_held_out and not (inputs.completions and reader.has_loss(rows)):
            inputs, wanted = Inputs(), frozenset(asked_in(rows))
        check = rewards.check if given and (inputs.scorer or not inputs.wanted) else accept
        talk = talk_of(environments) if inputs.sampler or not inputs.wanted else accept
        found, refusal = reader.found(rows, wanted, inputs), ""
        try:
            found = usable(found, limits, all_of([talk, check]), skip_bad=skip)
        except DataError as error:
            refusal = str(error)
        of = rows, share, inputs, is_held_out
        yield Preview(algorithm, tokenizer, limits, rewards, *of, found, refusal)
