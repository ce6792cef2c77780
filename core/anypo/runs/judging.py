"""Find, check and load what it takes to judge a model; nothing is trained."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from anypo.data.dataset import Reader
from anypo.data.load import load_rows
from anypo.data.named import named_sets
from anypo.data.tokens import Tokens
from anypo.errors import ConfigError
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import SamplingRequest
from anypo.models.checks import check_head
from anypo.models.load import (
    end_tokens,
    load_model,
    model_path,
    sensible_threads,
)
from anypo.models.options import MachineOptions, RuntimeOptions
from anypo.models.precision import shrink_frozen, stored_as
from anypo.models.rope import rotate_as_at
from anypo.rewards.scorer import Rewards
from anypo.runs.engines import check_sampler, start_engine
from anypo.runs.judge import Judge
from anypo.runs.judging_options import JudgingConfig
from anypo.runs.memory import memory_advised
from anypo.runs.observer import Observer
from anypo.runs.options import checked
from anypo.runs.setup import (
    check_rendered,
    check_tokens,
    limits_of,
    longest_of,
    tokenizer_of,
)
from anypo.runs.talking import environments_of, rewards_of, talk_of, talking_of, tools_of
from anypo.runs.task import ensure_task, task_of
from anypo.runs.unread import refuse, unread_by_sampler, unread_without_environment
from anypo.sampling.conversations import make_sampler
from anypo.sampling.environments import Environments
from anypo.support.world import World
from anypo.training.distributed import Distributed


@contextmanager
def judging(
    model: str | Path, options: Mapping[str, Any], of_task: str, observer: Observer | None = None
) -> Iterator[Judge]:
    """What completes and scores, checked and loaded; released after the block.

    Args:
        model: Directory, hub name or run directory.
        options: See `JudgingConfig`.
        of_task: The rows that are completed where none are named, those of the model's task.
        observer: Told what is worth it, and how far it is.

    Raises:
        AnypoError: With one sentence on what is wrong.
    """
    observer = observer or Observer()
    path = model_path(str(model), observer.note)
    config: JudgingConfig = checked(options, JudgingConfig)
    refuse(config, unread_by_sampler(config))
    machine = RuntimeOptions(**config.model_dump(include={*MachineOptions.model_fields}))
    distributed = Distributed(machine)
    observer = observer if distributed.world.is_first else Observer()
    config, sources = _suited_to(path, config, of_task, distributed.world, observer)
    check_sampler(config, [_asked(config)], distributed.runtime)
    how = {"trusted": config.trust_remote_code}
    limits, tokenizer = limits_of(path, config, **how), tokenizer_of(path, config, **how)
    environments = environments_of(config)
    scorer = _scorer(config, tokenizer, environments, distributed, observer)
    tell = observer.note, config.bad_rows == "skip", scorer.check, observer.preparing
    reader = Reader(None, tokenizer, limits, *tell, tools_of(environments), talk_of(environments))
    sets = {n: reader.to_complete(load_rows(s), has_loss=False) for n, s in sources.items()}
    check_rendered(sets.values(), config)
    check_tokens(path, tokenizer, sets.values(), config)
    talking = talking_of(config, environments, tokenizer, limits)
    if talking:
        talking.check(sets.values())
    scorer.prepare()
    length, longest = limits.prompt + config.longest_sample, longest_of(sets.values())
    with memory_advised(config):
        loaded = _loaded(path, config, distributed.runtime, length)
        request = _request(config, loaded, tokenizer)
        with distributed.world.agreed():
            engine = start_engine(config, loaded, request, distributed, length, longest)
    sets = {name: prompts[: config.limit] for name, prompts in sets.items()}
    sampler = make_sampler(engine, request, Tokens(tokenizer), talking, distributed.world)
    distributed.seed(config.seed)
    try:
        with sensible_threads(loaded):
            yield Judge(config, scorer, sets, sampler, observer)
    finally:
        sampler.close()


def _suited_to(
    path: str, config: JudgingConfig, rows: str, world: World, observer: Observer
) -> tuple[JudgingConfig, dict[str, str]]:
    """The options that suit the model of a task, where nothing is set, and the data sets."""
    task = task_of(path, trusted=config.trust_remote_code)
    sources, wishes = named_sets(config.data), dict[str, Any]()
    if task is None and not sources:
        raise ConfigError("no data are named, and the model comes from no task: name some (--data)")
    if task is not None:
        wishes = {n: v for n, v in task.plugin.options.items() if n in JudgingConfig.model_fields}
        if not sources:
            made = world.on_first(partial(ensure_task, task, observer.warming_up))
            sources, wishes["reward"] = {"": str(made / rows)}, list(task.plugin.reward)
    unset = {name: value for name, value in wishes.items() if name not in config.model_fields_set}
    config = config.model_copy(update=unset)
    refuse(config, unread_without_environment(config))
    return config, sources


def _asked(config: JudgingConfig) -> SamplingRequest:
    return SamplingRequest(
        max_completion_length=config.max_completion_length,
        temperature=config.temperature,
        top_p=config.top_p,
        top_k=config.top_k,
        stop=tuple(config.stop),
    )


def _request(
    config: JudgingConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase
) -> SamplingRequest:
    ends = tuple(end_tokens(model, tokenizer, Tokens(tokenizer).ends))
    text: Any = partial(tokenizer.decode, skip_special_tokens=False)
    return replace(_asked(config), end_tokens=ends, decode=text)


def _scorer(
    config: JudgingConfig,
    tokenizer: PreTrainedTokenizerBase,
    environments: Environments | None,
    distributed: Distributed,
    observer: Observer,
) -> Rewards:
    if not (config.reward or config.environment):
        raise ConfigError("no reward is named that could score completions: name one (--reward)")
    rewards = rewards_of(config, environments, distributed.runtime)
    patience = config.reward_timeout, distributed.world, config.reward_retries, observer.note
    scorer = Rewards(rewards, tokenizer, *patience, talks=environments is not None)
    return scorer.reading_to(config.stop)


def _loaded(path: str, config: JudgingConfig, runtime: Runtime, length: int) -> PreTrainedModel:
    stored = stored_as(config.weights, None, runtime)
    model = load_model(path, trust_remote_code=config.trust_remote_code, **stored)
    rotate_as_at(model, length)
    check_head(model, rounded=config.weights != "float32")
    shrink_frozen(model.requires_grad_(False), runtime.dtype)
    model.to(runtime.device)  # type: ignore[arg-type]
    return model
