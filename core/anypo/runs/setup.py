"""What a run works with: found and checked, and then put together."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from anypo.composition.algorithm import Algorithm
from anypo.composition.synthetic import SyntheticSampler, SyntheticScorer
from anypo.data.dataset import Reader
from anypo.data.found import PromptSet
from anypo.data.load import load_rows
from anypo.data.mixture import Mixture, Stream, parts_of, shares_of
from anypo.data.stream import PromptStream
from anypo.data.tally import Limits
from anypo.data.template_defaults import set_defaults
from anypo.data.tokens import Tokens
from anypo.errors import ConfigError, DataError, PluginError
from anypo.hooks.batch import Prompt
from anypo.hooks.runtime import CPU, Runtime
from anypo.hooks.sampler import Engine, SamplingRequest
from anypo.hooks.task import ChosenTask
from anypo.models.adapters import add_lora
from anypo.models.checkpointing import checkpoint_activations
from anypo.models.checks import check_head, check_vocabulary
from anypo.models.load import (
    agree,
    context_length,
    end_tokens,
    load_config,
    load_model,
    load_tokenizer,
    sensible_threads,
)
from anypo.models.precision import shrink_frozen, stored_as
from anypo.models.rope import rotate_as_at
from anypo.rewards.load import load_reward
from anypo.rewards.scorer import Rewards
from anypo.runs.observer import Observer
from anypo.runs.options import RunConfig, sampler_of
from anypo.runs.task import sources
from anypo.sampling.agreement import check_agreement
from anypo.sampling.sampler import PolicySampler
from anypo.support.extras import check_installed
from anypo.support.lazy import Joined
from anypo.support.world import ALONE, World
from anypo.training.distributed import Distributed
from anypo.training.evaluation import held_out_loss, sampled_score
from anypo.training.frozen import ensure_precomputed
from anypo.training.learner import Learner
from anypo.training.optimizer import optimizer_class
from anypo.training.replica import Replica
from anypo.training.trainer import Evaluation, Trainer

TRIED_AT_ONCE = 1000  # rows of a rollout before the first step


@dataclass
class Setup:
    """What a run works with, all of it checked, but without the weights of the policy."""

    config: RunConfig  # with the steps that the passes of the data take, if none were given
    model: str
    tokenizer: PreTrainedTokenizerBase
    max_length: int  # of a prompt and its completion, in tokens
    scorer: Rewards
    sets: list[PromptSet]  # to learn from
    shares: list[float] | None = None  # of each in what is drawn; None: that of its size
    held_out: Sequence[Prompt] = field(default_factory=list)  # to complete and score
    held_out_rows: Sequence[Prompt] = field(default_factory=list)  # whose completions have a loss

    @property
    def prompts(self) -> Sequence[Prompt]:
        """All that is learnt from."""
        return self.sets[0] if len(self.sets) == 1 else Joined(self.sets)

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt and completion that may come."""
        every = [*self.sets, *_sets(self.held_out_rows)]
        return max(prompts.tally.longest for prompts in every) + self.config.max_completion_length


def set_up(
    algorithm: Algorithm,
    config: RunConfig,
    task: ChosenTask | None,
    runtime: Runtime,
    observer: Observer,
    world: World = ALONE,
) -> Setup:
    """Find what a run works with, that of the task where none is named, and check it.

    Raises:
        AnypoError: Something does not exist, or does not fit the algorithm.
    """
    if config.data is not None and algorithm.inputs.scorer and not config.reward:
        raise ConfigError("data are given but no reward: name one with reward (--reward)")
    rewards = [load_reward(spec, runtime, config.reward_timeout) for spec in config.reward]
    named = [*(part.name for part in parts_of(config.data or [])), config.eval_data]
    rows = {name: load_rows(name) for name in named if name}
    model, parts, eval_data = sources(config, task, observer.warming_up, world)
    new = {*(part.name for part in parts), eval_data} - rows.keys()
    rows |= {name: load_rows(name) for name in new if name}
    tokenizer = load_tokenizer(model, trust_remote_code=config.trust_remote_code)
    if config.chat_template_kwargs:
        set_defaults(tokenizer, config.chat_template_kwargs)
    limits = limits_of(model, config)
    patience = config.reward_timeout, world, config.reward_retries, observer.note
    scorer = Rewards(rewards, tokenizer, *patience)
    skip_bad = config.bad_rows == "skip"
    tell = observer.note, skip_bad, scorer.check, observer.preparing
    reader = Reader(algorithm, tokenizer, limits, *tell)
    sets = [reader.to_learn_from(rows[part.name]) for part in parts]
    longest = limits.prompt + limits.completion
    found = Setup(config, model, tokenizer, longest, scorer, sets, shares_of(parts))
    if eval_data and algorithm.inputs.completions:
        found.held_out_rows = reader.to_measure(rows[eval_data])
    if eval_data and rewards:
        has_loss = bool(found.held_out_rows)
        found.held_out = reader.to_complete(rows[eval_data], has_loss=has_loss)
    if config.eval_data and not (found.held_out or found.held_out_rows):
        raise DataError(
            f"data set '{eval_data}' cannot be evaluated on: it lacks columns that "
            f"{algorithm.name} learns from, and no reward is set to score completions with"
        )
    _check_rendered(found)
    _check_tokens(found)
    _try_rollouts(algorithm, found)
    if config.steps is None:
        steps = math.ceil(config.data_epochs * len(found.prompts) / config.prompts_per_step)
        found.config = config.model_copy(update={"steps": steps})
    return found


def _check_rendered(found: Setup) -> None:
    rows = (*found.prompts, *found.held_out, *found.held_out_rows)
    if found.config.chat_template_kwargs and all(isinstance(row.content, str) for row in rows):
        raise ConfigError(
            "chat_template_kwargs is set, but every prompt is a text, which no chat template "
            "renders: make it a list of messages"
        )


def _check_tokens(found: Setup) -> None:
    every = [*found.sets, *_sets(found.held_out), *_sets(found.held_out_rows)]
    known = load_config(found.model, trust_remote_code=found.config.trust_remote_code)
    largest = {prompts.tally.largest for prompts in every}
    check_vocabulary(found.model, known, largest | Tokens(found.tokenizer).ends)


def _sets(prompts: Sequence[Prompt]) -> list[PromptSet]:
    """The data set, if there is one."""
    return [prompts] if isinstance(prompts, PromptSet) else []


def _try_rollouts(algorithm: Algorithm, found: Setup) -> None:
    """Have the plugins refuse rows that hold their completions now, not when a step draws them."""
    if algorithm.inputs.sampler or algorithm.inputs.scorer:
        return
    for rows in filter(None, (found.prompts, found.held_out_rows)):
        for at in range(0, len(rows), TRIED_AT_ONCE):
            some = rows[at : at + TRIED_AT_ONCE]
            algorithm.rollout(some, SyntheticSampler(), SyntheticScorer(), {}, rows)


def limits_of(model: str, config: RunConfig) -> Limits:
    """How long prompts and completions may be that a model reads.

    Raises:
        ConfigError: It attends to no more than the completions may have.
    """
    context = context_length(load_config(model, trust_remote_code=config.trust_remote_code))
    prompt, completion = config.max_prompt_length, config.max_completion_length
    if context is not None and completion >= context:
        raise ConfigError(
            f"max_completion_length is {completion}, but the model attends to {context} tokens, of "
            "prompt and completion together: lower it"
        )
    prompt = prompt if context is None else min(prompt, context - completion)
    return Limits(prompt, completion, config.long_prompts)


def check_engines(config: RunConfig, runtime: Runtime) -> None:
    """Refuse what cannot work before anything is loaded.

    Raises:
        AnypoError: A package is missing, or the sampler cannot sample so.
    """
    entry, sampler = sampler_of(config)
    with entry.answerable():
        for request in (_request(config), _to_evaluate(config, _request(config))):
            sampler.check(request, runtime)
    if config.lora_rank is not None:
        check_installed("peft", "lora_rank")
    if config.quantize is not None:
        check_installed("bitsandbytes", "quantize")
    stored_as(config.weights, config.quantize, runtime)
    kind, _ = optimizer_class(config)
    if config.sharding == "fsdp" and not kind.__module__.startswith("torch.optim"):
        raise ConfigError(
            f"optimizer '{config.optimizer}' does not work on sharded weights: take one of torch, "
            "such as adamw"
        )
    if config.sharding == "fsdp" and config.quantize:
        raise ConfigError("weights of 4 bits cannot be sharded: leave quantize or sharding out")


def make_trainer(algorithm: Algorithm, found: Setup, distributed: Distributed) -> Trainer:
    """Load the weights, and put together who samples, scores, trains and evaluates."""
    config, runtime = found.config, distributed.runtime
    found.scorer.prepare()
    distributed.seed(config.seed)
    model = _load_policy(algorithm, found, runtime)
    ends = end_tokens(model, found.tokenizer, Tokens(found.tokenizer).ends)
    agree(model, found.tokenizer, ends)
    request = _request(config, tuple(ends))
    replica = None
    if distributed.shards:
        outside = sampler_of(config)[1].outside or not algorithm.inputs.sampler
        replica = Replica(model, CPU if outside else runtime.device)
    with distributed.world.agreed():
        policy = replica.model if replica else model
        engine = _start_engine(algorithm, found, policy, distributed, request)
    sampler = PolicySampler(engine, request, distributed.world)
    learner = Learner(algorithm, model, config, distributed, found.longest, replica)
    if config.precompute_reference:
        with sensible_threads(model):
            known = [*found.prompts, *found.held_out_rows]
            learner.frozen["ref_logprobs"] = ensure_precomputed(learner, known)
    evaluations: list[Evaluation] = []
    if prompts := found.held_out:
        text: Any = partial(found.tokenizer.decode, skip_special_tokens=False)
        to_evaluate = replace(_to_evaluate(config, request), decode=text)
        drawn = PolicySampler(engine, to_evaluate, distributed.world)
        scorer = found.scorer.reading_to(config.eval_stop)
        evaluations.append(partial(sampled_score, prompts, drawn, scorer))
    if prompts := found.held_out_rows:
        evaluations.append(partial(held_out_loss, prompts, learner, sampler, found.scorer))
    stream: Stream = PromptStream(found.prompts, config.seed)
    if found.shares:
        stream = Mixture(found.sets, found.shares, config.seed)
    return Trainer(learner, sampler, found.scorer, stream, evaluations, config)


def _start_engine(
    algorithm: Algorithm,
    found: Setup,
    model: PreTrainedModel,
    distributed: Distributed,
    request: SamplingRequest,
) -> Engine | None:
    """What samples for this process, if one engine does not serve them all."""
    entry, plugin = sampler_of(found.config)
    if plugin.outside and not distributed.world.is_first:
        return None
    runtime = distributed.runtime
    with sensible_threads(model), entry.answerable():
        engine = plugin.start(model, runtime, found.max_length)
        if not isinstance(engine, Engine):
            raise PluginError(f"{entry} started {engine!r:.60}, which is no anypo.Engine")
        if plugin.draws and (algorithm.inputs.sampler or found.held_out):
            every = [*found.sets, *_sets(found.held_out)]
            longest = max(prompts.tally.longest for prompts in every)
            check_agreement(engine, model, request, runtime, longest)
    return engine


def _load_policy(algorithm: Algorithm, found: Setup, runtime: Runtime) -> PreTrainedModel:
    """The model to be trained; what is frozen is made small before it goes to the device."""
    config = found.config
    stored = stored_as(config.weights, config.quantize, runtime)
    model = load_model(
        found.model,
        scalar_head=not algorithm.generates,
        trust_remote_code=config.trust_remote_code,
        **stored,
    )
    if algorithm.generates:
        rotate_as_at(model, found.max_length)
    check_head(model, rounded=stored != {"dtype": torch.float32})
    if config.lora_rank is not None:
        add_lora(model, found.model, config)
        shrink_frozen(model, runtime.dtype)
    model.to(runtime.device)  # type: ignore[arg-type]
    checkpoint_activations(model, config.gradient_checkpointing)
    return model


def _request(config: RunConfig, end_tokens: tuple[int, ...] = ()) -> SamplingRequest:
    """Of all the distribution: of a part of it, log-probs are not those that training computes."""
    return SamplingRequest(
        end_tokens=end_tokens,
        max_completion_length=config.max_completion_length,
        temperature=config.temperature,
    )


def _to_evaluate(config: RunConfig, request: SamplingRequest) -> SamplingRequest:
    return replace(
        request,
        temperature=config.eval_temperature or config.temperature,
        top_p=config.eval_top_p,
        top_k=config.eval_top_k,
        stop=tuple(config.eval_stop),
    )
