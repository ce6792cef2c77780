"""Find what a run works with, the built-in model and data where none are named, and check it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from anypo.composition.algorithm import Algorithm
from anypo.hooks.batch import Prompt
from anypo.composition.compose import learning_from
from anypo.runs.options import RunConfig
from anypo.data.load import load_rows
from anypo_tasks.addition import ensure_embedded
from anypo.errors import ConfigError, DataError
from anypo.data.formats import Row, columns_in_reach, converted
from anypo.rewards.model import Inference
from anypo.models.load import context_length, load_config, load_tokenizer
from anypo.runs.observer import Observer
from anypo.data.prompts import Prompts, to_prompts
from anypo.rewards.load import load_reward
from anypo.rewards.scorer import Rewards
from anypo.hooks.rollout import Inputs


@dataclass
class Materials:
    """What a run works with, all of it checked, but without the weights of the policy."""

    config: RunConfig  # with the steps that the passes of the data take, if none were given
    model: str
    tokenizer: PreTrainedTokenizerBase
    scorer: Rewards
    prompts: list[Prompt]
    held_out: list[Prompt] = field(default_factory=list)  # to complete and score
    held_out_rows: list[Prompt] = field(default_factory=list)  # whose completions have a loss


def gather(
    algorithm: Algorithm, config: RunConfig, inference: Inference, observer: Observer
) -> Materials:
    """The materials of a run.

    Raises:
        AnypoError: Something does not exist, or does not fit the algorithm.
    """
    if config.data is not None and algorithm.inputs.scorer and not config.reward:
        raise ConfigError("data are given but no reward: name one with reward (--reward)")
    rewards = [load_reward(spec, inference) for spec in config.reward]
    rows = {name: load_rows(name) for name in (config.data, config.eval_data) if name}
    model, data, eval_data = config.model, config.data, config.eval_data
    if model is None or data is None:
        built_in = ensure_embedded(observer.warming_up)
        model = model or built_in.model
        if data is None:
            data, eval_data = built_in.train, eval_data or built_in.held_out
            rows |= {name: load_rows(name) for name in (data, eval_data) if name not in rows}
    tokenizer = load_tokenizer(model, trust_remote_code=config.trust_remote_code)
    reader = _Reader(algorithm, config, tokenizer, _prompt_limit(model, config), observer)
    scorer = Rewards(rewards, tokenizer, config.reward_timeout)
    found = Materials(config, model, tokenizer, scorer, reader.to_learn_from(data, rows[data]))
    if eval_data and algorithm.inputs.completions:
        found.held_out_rows = reader.to_judge(eval_data, rows[eval_data])
    if eval_data and rewards:
        judged = bool(found.held_out_rows)
        found.held_out = reader.to_complete(eval_data, rows[eval_data], judged=judged)
    if config.eval_data and not (found.held_out or found.held_out_rows):
        raise DataError(
            f"data set '{eval_data}' cannot be evaluated on: it lacks columns that "
            f"{algorithm.name} learns from, and no reward is set to score completions with"
        )
    for given in (found.prompts if algorithm.inputs.scorer else [], found.held_out):
        scorer.check_columns(given)
    if config.steps is None:
        steps = math.ceil(config.data_epochs * len(found.prompts) / config.prompts_per_step)
        found.config = config.model_copy(update={"steps": steps})
    return found


@dataclass
class _Reader:
    """Makes prompts of the rows of data sets."""

    algorithm: Algorithm
    config: RunConfig
    tokenizer: PreTrainedTokenizerBase
    prompt_limit: int  # tokens
    observer: Observer

    def to_learn_from(self, name: str, rows: Sequence[Row]) -> list[Prompt]:
        """Prompts with all that the rollout reads."""
        originals = len(rows)
        rows = converted(rows, self._wanted, name)
        missing = sorted({"prompt", *self._wanted} - rows[0].keys())
        if missing:
            fitting = learning_from(rows[0].keys(), self.algorithm)
            raise DataError(
                f"data set '{name}' has no column '{missing[0]}', only {', '.join(rows[0])}; "
                + f"{', '.join(fitting) or 'only an algorithm that samples'} would learn from it"
            )
        return self._tokenised(name, rows, self.algorithm.inputs, originals)

    def to_complete(self, name: str, rows: Sequence[Row], *, judged: bool) -> list[Prompt]:
        """Prompts alone; none, if the rows have none but are good for judging."""
        in_conversation = "prompt" not in rows[0] and "messages" in rows[0]
        rows = converted(rows, ["completion"] if in_conversation else [], name)
        if "prompt" not in rows[0]:
            lack = f"data set '{name}' has no column 'prompt', only {', '.join(rows[0])}"
            if not judged:
                raise DataError(lack)
            self.observer.note(f"{lack}: its loss is measured, but no reward scores anything")
            return []
        return self._tokenised(name, rows, Inputs(), len(rows))

    def to_judge(self, name: str, rows: Sequence[Row]) -> list[Prompt]:
        """Prompts with all that the rollout reads; none, if the data set lacks it."""
        has_all = {"prompt", *self._wanted} <= columns_in_reach(rows[0].keys(), self._wanted)
        return self.to_learn_from(name, rows) if has_all else []

    @property
    def _wanted(self) -> frozenset[str]:
        return self.algorithm.inputs.completions | self.algorithm.inputs.columns

    def _tokenised(
        self, name: str, rows: Sequence[Row], inputs: Inputs, originals: int
    ) -> list[Prompt]:
        limits = (self.prompt_limit, self.config.max_completion_length)
        found = to_prompts(name, rows, self.tokenizer, inputs, *limits, originals=originals)
        for note in _losses(name, found, limits[1]):
            self.observer.note(note)
        return found.prompts


def _losses(name: str, found: Prompts, limit: int) -> list[str]:
    notes = []
    if found.identical:
        notes.append(
            f"{len(found.identical)} rows of '{name}' hold the same completion twice and are left "
            f"out (row {found.identical[0]} is the first)"
        )
    if found.cut_alike:
        notes.append(
            f"the completions of {len(found.cut_alike)} rows of '{name}' differ only beyond "
            f"max_completion_length ({limit}); the rows are left out (row {found.cut_alike[0]} is "
            "the first)"
        )
    if found.only_last:
        notes.append(
            f"of {found.only_last} rows of '{name}' only the last reply is learnt: the chat "
            "template renders earlier ones otherwise once later ones follow"
        )
    if found.cut:
        notes.append(
            f"{found.cut} completions of '{name}' are longer than max_completion_length ({limit}) "
            "and were cut"
        )
    return notes


def _prompt_limit(model: str, config: RunConfig) -> int:
    completion = config.max_completion_length
    context = context_length(load_config(model, trust_remote_code=config.trust_remote_code))
    if context is None:
        return config.max_prompt_length
    if completion >= context:
        raise ConfigError(
            f"max_completion_length is {completion}, but the model attends to {context} tokens"
        )
    return min(config.max_prompt_length, context - completion)
