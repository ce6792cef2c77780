"""Run an algorithm: check everything that can be checked, load, train, write it down."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from transformers import PreTrainedTokenizerBase

from anypo.algorithm import Algorithm
from anypo.batch import Prompt
from anypo.composition import compose, suited_to_built_in
from anypo.config import (
    NEEDED_BY,
    Recipe,
    RunConfig,
    inapplicable,
    make_config,
    resolve,
)
from anypo.data import PromptStream, load_rows, to_prompts
from anypo.embedded import ensure_embedded
from anypo.errors import AnypoError, ConfigError, TrainingError
from anypo.forward import check_head
from anypo.models import (
    context_length,
    end_tokens,
    load_config,
    load_model,
    load_tokenizer,
    sensible_threads,
)
from anypo.provenance import describe
from anypo.rewards import Rewards, load_reward
from anypo.run_directory import RunDirectory
from anypo.sampler import TransformersSampler
from anypo.trainer import Report, Trainer


class Observer(Protocol):
    """Whoever wants to watch a run."""

    def note(self, text: str) -> None:
        """Something worth saying once."""
        ...

    def warming_up(self, done: int, total: int) -> None:
        """The built-in model is being made."""
        ...

    def started(self, steps: int) -> None:
        """Training begins."""
        ...

    def reported(self, step: int, metrics: dict[str, float]) -> None:
        """A step is done; step 0 is the evaluation before the first."""
        ...


class Silent:
    """An observer that says nothing."""

    def note(self, text: str) -> None:
        """See `Observer`."""

    def warming_up(self, done: int, total: int) -> None:
        """See `Observer`."""

    def started(self, steps: int) -> None:
        """See `Observer`."""

    def reported(self, step: int, metrics: dict[str, float]) -> None:
        """See `Observer`."""


@dataclass
class Materials:
    """What a run works with, all of it checked, but no weights loaded yet."""

    config: RunConfig  # with the steps that one pass of the data takes, if none were given
    model: str
    tokenizer: PreTrainedTokenizerBase
    prompts: list[Prompt]
    held_out: list[Prompt]
    scorer: Rewards


def run(algorithm: str | Algorithm, *, observer: Observer | None = None, **options: Any) -> Path:
    """Train a model and return the run directory.

        run("grpo", steps=20)
        run(compose("grpo", clip="cispo"), model="Qwen/Qwen3-0.6B", data="train.jsonl",
            reward=["reward.py:score"])

    Args:
        algorithm: Plugin names joined by `+`, or what `compose` returned.
        observer: Told how the run goes.
        options: See `RunConfig`.

    Raises:
        AnypoError: With one sentence on what is wrong. What was trained by then is saved.
    """
    if isinstance(algorithm, str):
        algorithm = compose(*algorithm.split("+"))
    return run_recipe(algorithm, make_config(options), observer or Silent())


def run_recipe(algorithm: Algorithm, config: RunConfig, observer: Observer) -> Path:
    """Train a model by a composed algorithm; see `run`."""
    if config.model is None:
        algorithm = suited_to_built_in(algorithm)
    _refuse_inapplicable(config, algorithm)
    config = resolve(config, algorithm.built_in_options)
    accelerator = _accelerator(config)
    directory = RunDirectory(config.output, algorithm.named)
    _explain_inert_stages(algorithm, config, observer)
    materials = _gather(config, observer)
    trainer = _trainer(algorithm, materials, accelerator)
    recipe = _recipe(algorithm, materials.config, bool(materials.held_out))
    directory.begin(recipe, describe(algorithm))
    with sensible_threads(trainer.model):
        _train(trainer, directory, materials.tokenizer, observer)
    return directory.path


def _trainer(algorithm: Algorithm, materials: Materials, accelerator: Accelerator) -> Trainer:
    """Load the weights, and put together who samples, scores and trains."""
    config = materials.config
    set_seed(config.seed)
    model = load_model(materials.model, trust_remote_code=config.trust_remote_code)
    model.to(accelerator.device)
    check_head(model)
    sampler = TransformersSampler(
        model,
        end_tokens=end_tokens(model, materials.tokenizer),
        temperature=config.temperature,
        max_completion_length=config.max_completion_length,
        token_budget=config.token_budget,
        autocast=accelerator.autocast,
    )
    prompts = PromptStream(materials.prompts, config.seed)
    return Trainer(
        algorithm,
        model,
        sampler,
        materials.scorer,
        prompts,
        materials.held_out,
        config,
        accelerator,
    )


def _train(
    trainer: Trainer,
    directory: RunDirectory,
    tokenizer: PreTrainedTokenizerBase,
    observer: Observer,
) -> None:
    """Train and write down every step; whatever happens, the model trained so far is saved."""
    save_every = trainer.config.save_every
    done = 0
    told = False
    observer.started(trainer.steps)
    try:
        for report in trainer.train():
            done = report.step
            directory.write(report, tokenizer)
            if report.missing and not told:
                observer.note(_shortage(report, trainer.config))
                told = True
            observer.reported(report.step, report.metrics)
            if done and save_every and done % save_every == 0:
                directory.checkpoint(done, trainer, tokenizer)
    except BaseException as error:
        saved = f"the model so far is in {directory.save(trainer.model, tokenizer)}"
        if isinstance(error, torch.OutOfMemoryError):
            advice = "out of memory; lower token_budget"
            raise TrainingError(f"step {done + 1}: {advice}; {saved}") from error
        if isinstance(error, AnypoError):
            raise type(error)(f"step {done + 1}: {error}; {saved}") from error
        observer.note(f"stopped in step {done + 1}; {saved}")
        raise
    finally:
        trainer.sampler.close()
    directory.save(trainer.model, tokenizer)


def _shortage(report: Report, config: RunConfig) -> str:
    return (
        f"step {report.step} kept {config.prompts_per_step - report.missing} of "
        f"{config.prompts_per_step} prompts in {config.max_rounds} rounds and trained on those; "
        "so may later steps (--max-rounds allows more)"
    )


def _accelerator(config: RunConfig) -> Accelerator:
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("device 'cuda' is asked for, but this machine has no usable GPU")
    on_gpu = torch.cuda.is_available() and config.device != "cpu"
    dtype = ("bfloat16" if on_gpu else "float32") if config.dtype == "auto" else config.dtype
    precision = "bf16" if dtype == "bfloat16" else "no"
    # Otherwise a second run of the same process could not choose another device or precision.
    AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = Accelerator(cpu=not on_gpu, mixed_precision=precision)
    if accelerator.num_processes > 1:
        raise ConfigError(
            f"started with {accelerator.num_processes} processes, but training on several is not "
            "supported yet; start one"
        )
    return accelerator


def _refuse_inapplicable(config: RunConfig, algorithm: Algorithm) -> None:
    ignored = config.model_fields_set & inapplicable(algorithm.requires)
    if ignored:
        option = min(ignored)
        raise ConfigError(
            f"{option} is set, but {algorithm.name} has no {NEEDED_BY[option]} model, so nothing "
            "would read it"
        )
    unevaluated = config.data is not None and config.eval_data is None
    if unevaluated and "eval_every" in config.model_fields_set:
        raise ConfigError("eval_every is set, but there are no held-out prompts: set eval_data")
    if "ref_sync_alpha" in config.model_fields_set and config.ref_sync_every is None:
        raise ConfigError("ref_sync_alpha is set, but not ref_sync_every, so nothing would read it")


def _explain_inert_stages(algorithm: Algorithm, config: RunConfig, observer: Observer) -> None:
    one_update = config.epochs * config.minibatches == 1
    if one_update and "old_logprobs" in algorithm.requires:
        observer.note(
            "one update per rollout: every importance ratio is 1, so clipping has no effect "
            "(--minibatches or --epochs above 1 make it matter)"
        )


def _gather(config: RunConfig, observer: Observer) -> Materials:
    """Find model and data, the built-in ones where none are given, and check what can be."""
    if config.data is not None and not config.reward:
        raise ConfigError("data are given but no reward: name one with reward (--reward)")
    rewards = [load_reward(spec) for spec in config.reward]
    rows = {name: load_rows(name) for name in (config.data, config.eval_data) if name}
    model, data, eval_data = config.model, config.data, config.eval_data
    if model is None or data is None:
        built_in = ensure_embedded(observer.warming_up)
        model = model or built_in.model
        if data is None:
            data, eval_data = built_in.train, eval_data or built_in.held_out
            rows |= {name: load_rows(name) for name in (data, eval_data) if name not in rows}
    tokenizer = load_tokenizer(model, trust_remote_code=config.trust_remote_code)
    limit = _prompt_limit(model, config)
    prompts = to_prompts(data, rows[data], tokenizer, max_prompt_length=limit)
    held_out = []
    if eval_data:
        held_out = to_prompts(eval_data, rows[eval_data], tokenizer, max_prompt_length=limit)
    if config.steps is None:
        steps = math.ceil(len(prompts) / config.prompts_per_step)
        config = config.model_copy(update={"steps": steps})
    scorer = Rewards(rewards, tokenizer, config.reward_timeout)
    for given in (prompts, held_out):
        scorer.check_columns(given)
    return Materials(config, model, tokenizer, prompts, held_out, scorer)


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


def _recipe(algorithm: Algorithm, config: RunConfig, evaluates: bool) -> Recipe:
    knobs: dict[str, Any] = {
        knob.name: knob.value
        for knob in algorithm.knobs.values()
        if knob.name in algorithm.active_knobs and knob.value is not None
    }
    hooks = {layer.stage: layer.name for layer in algorithm.layers if layer.stage is not None}
    ignored = inapplicable(algorithm.requires) | {"output"}
    if not evaluates:
        ignored.add("eval_every")
    if config.ref_sync_every is None:
        ignored.add("ref_sync_alpha")
    options: dict[str, Any] = config.model_dump(exclude=ignored)
    return Recipe(algorithm.named, options, knobs, hooks)
