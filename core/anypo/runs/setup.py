"""What a run works with: found and checked, and then put together."""

import math
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from anypo.composition.algorithm import Algorithm
from anypo.composition.synthetic import SyntheticSampler, SyntheticScorer
from anypo.data.dataset import Reader
from anypo.data.load import load_rows
from anypo.data.stream import PromptStream
from anypo.data.tokens import Tokens
from anypo.errors import ConfigError, DataError, PluginError
from anypo.hooks.batch import Prompt
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import Engine, SamplingRequest
from anypo.hooks.task import ChosenTask
from anypo.models.checks import check_vocabulary
from anypo.models.load import (
    agree,
    context_length,
    end_tokens,
    load_config,
    load_tokenizer,
    sensible_threads,
)
from anypo.models.precision import stored_as
from anypo.rewards.load import load_reward
from anypo.rewards.scorer import Rewards
from anypo.runs.observer import Observer
from anypo.runs.options import RunConfig, sampler_of
from anypo.runs.policy import load_policy
from anypo.runs.task import ensure_task
from anypo.sampling.agreement import check_agreement
from anypo.sampling.sampler import PolicySampler
from anypo.support.extras import check_installed
from anypo.support.world import ALONE, World
from anypo.training.distributed import Distributed
from anypo.training.evaluation import held_out_loss, sampled_score
from anypo.training.frozen import ensure_precomputed
from anypo.training.learner import Learner
from anypo.training.optimizer import optimizer_class
from anypo.training.trainer import Evaluation, Trainer


@dataclass
class Setup:
    """What a run works with, all of it checked, but without the weights of the policy."""

    config: RunConfig  # with the steps that the passes of the data take, if none were given
    model: str
    tokenizer: PreTrainedTokenizerBase
    max_length: int  # of a prompt and its completion, in tokens
    scorer: Rewards
    prompts: list[Prompt]
    held_out: list[Prompt] = field(default_factory=list)  # to complete and score
    held_out_rows: list[Prompt] = field(default_factory=list)  # whose completions have a loss

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt and completion that may come."""
        every = (*self.prompts, *self.held_out_rows)
        return max(len(prompt.ids) for prompt in every) + self.config.max_completion_length


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
    rows = {name: load_rows(name) for name in (config.data, config.eval_data) if name}
    model, data, eval_data = config.model, config.data, config.eval_data
    if model is None or data is None:
        made = world.on_first(partial(ensure_task, task, observer.warming_up))
        model = model or str(made / "model")
        if data is None:
            data, eval_data = str(made / "train.jsonl"), eval_data or str(made / "held_out.jsonl")
            rows |= {name: load_rows(name) for name in (data, eval_data) if name not in rows}
    tokenizer = load_tokenizer(model, trust_remote_code=config.trust_remote_code)
    limits = _prompt_limit(model, config), config.max_completion_length
    scorer = Rewards(rewards, tokenizer, config.reward_timeout, world)
    skip_bad = config.bad_rows == "skip"
    reader = Reader(algorithm, tokenizer, *limits, observer.note, skip_bad, scorer.check)
    prompts = reader.to_learn_from(data, rows[data])
    found = Setup(config, model, tokenizer, sum(limits), scorer, prompts)
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
    _check_tokens(found)
    _try_rollouts(algorithm, found)
    if config.steps is None:
        steps = math.ceil(config.data_epochs * len(found.prompts) / config.prompts_per_step)
        found.config = config.model_copy(update={"steps": steps})
    return found


def _check_tokens(found: Setup) -> None:
    rows = (*found.prompts, *found.held_out, *found.held_out_rows)
    texts = (ids for row in rows for ids in (row.ids, *(c.ids for c in row.completions.values())))
    known = load_config(found.model, trust_remote_code=found.config.trust_remote_code)
    ends = Tokens(found.tokenizer).ends
    check_vocabulary(found.model, known, chain(ends, chain.from_iterable(texts)))


def _try_rollouts(algorithm: Algorithm, found: Setup) -> None:
    """Have the plugins refuse rows that hold their completions now, not when a step draws them."""
    if algorithm.inputs.sampler or algorithm.inputs.scorer:
        return
    for rows in filter(None, (found.prompts, found.held_out_rows)):
        algorithm.rollout(rows, SyntheticSampler(), SyntheticScorer(), {})


def _prompt_limit(model: str, config: RunConfig) -> int:
    context = context_length(load_config(model, trust_remote_code=config.trust_remote_code))
    prompt, completion = config.max_prompt_length, config.max_completion_length
    if context is not None and completion >= context:
        raise ConfigError(
            f"max_completion_length is {completion}, but the model attends to {context} tokens"
        )
    return prompt if context is None else min(prompt, context - completion)


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
    config = found.config
    found.scorer.prepare()
    distributed.seed(config.seed)
    world, samples = distributed.world, algorithm.inputs.sampler or bool(found.held_out)
    all_sample = samples and not sampler_of(config)[1].outside
    given = algorithm, found.model, found.max_length, config, distributed
    model, replica = load_policy(*given, all_sample=all_sample)
    whole = replica.model if replica else model
    read, learnt = whole or model, Tokens(found.tokenizer).ends
    ends = world.on_first(lambda: end_tokens(read, found.tokenizer, learnt))
    agree(read, found.tokenizer, ends)
    request = _request(config, tuple(ends))
    with world.agreed():
        engine = _start_engine(algorithm, found, whole, distributed, request)
    sampler = PolicySampler(engine, request, world)
    learner = Learner(algorithm, model, config, distributed, found.longest, replica)
    if config.precompute_reference:
        with sensible_threads(model):
            known = [*found.prompts, *found.held_out_rows]
            learner.frozen["ref_logprobs"] = ensure_precomputed(learner, known)
    evaluations: list[Evaluation] = []
    if prompts := found.held_out:
        text: Any = partial(found.tokenizer.decode, skip_special_tokens=False)
        to_evaluate = replace(_to_evaluate(config, request), decode=text)
        drawn = PolicySampler(engine, to_evaluate, world)
        scorer = found.scorer.reading_to(config.eval_stop)
        evaluations.append(partial(sampled_score, prompts, drawn, scorer))
    if prompts := found.held_out_rows:
        evaluations.append(partial(held_out_loss, prompts, learner, sampler, found.scorer))
    stream = PromptStream(found.prompts, config.seed)
    return Trainer(learner, sampler, found.scorer, stream, evaluations, config)


def _start_engine(
    algorithm: Algorithm,
    found: Setup,
    model: PreTrainedModel | None,
    distributed: Distributed,
    request: SamplingRequest,
) -> Engine | None:
    """What samples for this process from a whole model, if one engine does not serve them all."""
    entry, plugin = sampler_of(found.config)
    if model is None or (plugin.outside and not distributed.world.is_first):
        return None
    runtime = distributed.runtime
    with sensible_threads(model), entry.answerable():
        engine = plugin.start(model, runtime, found.max_length)
        if not isinstance(engine, Engine):
            raise PluginError(f"{entry} started {engine!r:.60}, which is no anypo.Engine")
        if plugin.draws and (algorithm.inputs.sampler or found.held_out):
            longest = max(len(prompt.ids) for prompt in (*found.prompts, *found.held_out))
            check_agreement(engine, model, request, runtime, longest)
    return engine


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
