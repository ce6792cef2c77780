"""What a run works with: found and checked, and then put together."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import chain
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from anypo.composition.algorithm import Algorithm
from anypo.composition.synthetic import SyntheticSampler, SyntheticScorer
from anypo.data.dataset import Reader
from anypo.data.formats import Row
from anypo.data.load import load_rows
from anypo.data.named import named_sets
from anypo.data.options import RowOptions
from anypo.data.stream import PromptStream
from anypo.data.tokens import Tokens
from anypo.errors import ConfigError, DataError
from anypo.hooks.batch import Prompt
from anypo.hooks.runtime import CPU, Runtime
from anypo.hooks.sampler import SamplingRequest
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
from anypo.models.options import MachineOptions
from anypo.models.precision import shrink_frozen, stored_as
from anypo.models.rope import rotate_as_at
from anypo.rewards.load import load_reward
from anypo.rewards.scorer import Rewards
from anypo.runs.engines import check_sampler, start_engine
from anypo.runs.observer import Observer
from anypo.runs.options import RunConfig, sampler_of
from anypo.runs.task import ensure_task
from anypo.sampling.sampler import PolicySampler
from anypo.support.extras import check_installed
from anypo.support.world import ALONE, World
from anypo.training.distributed import Distributed
from anypo.training.evaluation import held_out_loss, sampled_score
from anypo.training.frozen import ensure_precomputed
from anypo.training.learner import Learner
from anypo.training.optimizer import optimizer_class
from anypo.training.replica import Replica
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
    held_out: dict[str, list[Prompt]] = field(default_factory=dict)  # by set: to be completed
    held_out_rows: dict[str, list[Prompt]] = field(default_factory=dict)  # that have a loss

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt and completion that may come."""
        longest = max(len(prompt.ids) for prompt in self.learnt)
        return longest + self.config.max_completion_length

    @property
    def learnt(self) -> list[Prompt]:
        """Whatever has a loss."""
        return [*self.prompts, *chain(*self.held_out_rows.values())]

    @property
    def completed(self) -> list[Prompt]:
        """Whatever is held out to be completed."""
        return list(chain(*self.held_out.values()))


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
    model, data, sets = config.model, config.data, named_sets(config.eval_data)
    rows = {name: load_rows(name) for name in (data, *sets.values()) if name}
    if model is None or data is None:
        made = world.on_first(partial(ensure_task, task, observer.warming_up))
        model = model or str(made / "model")
        if data is None:
            data, sets = str(made / "train.jsonl"), sets or {"": str(made / "held_out.jsonl")}
            rows |= {name: load_rows(name) for name in (data, *sets.values()) if name not in rows}
    trusted = config.trust_remote_code
    tokenizer = load_tokenizer(model, trust_remote_code=trusted)
    limits = prompt_limit(model, config, trusted=trusted), config.max_completion_length
    scorer = Rewards(rewards, tokenizer, config.reward_timeout, world)
    skip_bad = config.bad_rows == "skip"
    reader = Reader(algorithm, tokenizer, *limits, observer.note, skip_bad, scorer.check)
    prompts = reader.to_learn_from(data, rows[data])
    found = Setup(config, model, tokenizer, sum(limits), scorer, prompts)
    for name, source in sets.items():
        _hold_out(found, algorithm, reader, name, source, rows[source])
    check_tokens(model, tokenizer, [*found.learnt, *found.completed], config)
    _try_rollouts(algorithm, found)
    if config.steps is None:
        steps = math.ceil(config.data_epochs * len(found.prompts) / config.prompts_per_step)
        found.config = config.model_copy(update={"steps": steps})
    return found


def _hold_out(
    found: Setup, algorithm: Algorithm, reader: Reader, name: str, source: str, rows: Sequence[Row]
) -> None:
    """Read a held-out set, as far as the run can be evaluated on it."""
    measured = reader.to_measure(source, rows) if algorithm.inputs.completions else []
    completed = []
    if found.scorer.rewards:
        completed = reader.to_complete(source, rows, has_loss=bool(measured))
    if found.config.eval_data and not (completed or measured):
        raise DataError(
            f"data set '{source}' cannot be evaluated on: it lacks columns that "
            f"{algorithm.name} learns from, and no reward is set to score completions with"
        )
    found.held_out |= {name: completed} if completed else {}
    found.held_out_rows |= {name: measured} if measured else {}


def check_tokens(
    model: str,
    tokenizer: PreTrainedTokenizerBase,
    rows: Iterable[Prompt],
    config: MachineOptions,
) -> None:
    """Refuse a tokenizer that has tokens that the model does not know; raises ModelError."""
    texts = (ids for row in rows for ids in (row.ids, *(c.ids for c in row.completions.values())))
    known = load_config(model, trust_remote_code=config.trust_remote_code)
    check_vocabulary(model, known, chain(Tokens(tokenizer).ends, chain.from_iterable(texts)))


def _try_rollouts(algorithm: Algorithm, found: Setup) -> None:
    """Have the plugins refuse rows that hold their completions now, not when a step draws them."""
    if algorithm.inputs.sampler or algorithm.inputs.scorer:
        return
    for rows in (found.prompts, *found.held_out_rows.values()):
        algorithm.rollout(rows, SyntheticSampler(), SyntheticScorer(), {})


def prompt_limit(model: str, config: RowOptions, *, trusted: bool) -> int:
    """Tokens that a prompt may have, so that there is room for its completion."""
    context = context_length(load_config(model, trust_remote_code=trusted))
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
    request = _request(config)
    check_sampler(config, [request, _to_evaluate(config, request)], runtime)
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
        drawn = [*(found.prompts if algorithm.inputs.sampler else ()), *found.completed]
        engine = start_engine(config, policy, request, distributed, found.max_length, drawn)
    sampler = PolicySampler(engine, request, distributed.world)
    learner = Learner(algorithm, model, config, distributed, found.longest, replica)
    if config.precompute_reference:
        with sensible_threads(model):
            learner.frozen["ref_logprobs"] = ensure_precomputed(learner, found.learnt)
    stream = PromptStream(found.prompts, config.seed)
    evaluations = _evaluations(found, learner, sampler)
    return Trainer(learner, sampler, found.scorer, stream, evaluations, config)


def _evaluations(found: Setup, learner: Learner, sampler: PolicySampler) -> list[Evaluation]:
    """Of every held-out set, what the policy says to it, and what it says of its completions."""
    config, evaluations = found.config, list[Evaluation]()
    text: Any = partial(found.tokenizer.decode, skip_special_tokens=False)
    request = replace(_to_evaluate(config, sampler.request), decode=text)
    drawn = PolicySampler(sampler.engine, request, sampler.world)
    scorer = found.scorer.reading_to(config.eval_stop)
    for name, prompts in found.held_out.items():
        how = prompts, drawn, scorer, config.eval_samples, name
        evaluations.append(partial(sampled_score, *how))
    for name, rows in found.held_out_rows.items():
        evaluations.append(partial(held_out_loss, rows, learner, sampler, found.scorer, name))
    return evaluations


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
