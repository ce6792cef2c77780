"""Find what a run works with, the built-in model and data where none are named, and check it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from anypo.composition.algorithm import Algorithm
from anypo.data.dataset import Reader
from anypo.data.load import load_rows
from anypo.errors import ConfigError, DataError
from anypo.hooks.batch import Prompt
from anypo.models.load import context_length, load_config, load_tokenizer
from anypo.rewards.load import load_reward
from anypo.rewards.model import Inference
from anypo.rewards.scorer import Rewards
from anypo.runs.observer import Observer
from anypo.runs.options import RunConfig
from anypo_tasks.addition import ensure_embedded


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
    limits = _prompt_limit(model, config), config.max_completion_length
    reader = Reader(algorithm, tokenizer, *limits, observer.note)
    scorer = Rewards(rewards, tokenizer, config.reward_timeout)
    found = Materials(config, model, tokenizer, scorer, reader.to_learn_from(data, rows[data]))
    if eval_data and algorithm.inputs.completions:
        found.held_out_rows = reader.to_measure(eval_data, rows[eval_data])
    if eval_data and rewards:
        has_loss = bool(found.held_out_rows)
        found.held_out = reader.to_complete(eval_data, rows[eval_data], has_loss=has_loss)
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
