"""Run an algorithm: check everything that can be checked, load, train, write it down."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import set_seed
from transformers import PreTrainedTokenizerBase

from anypo.composition.algorithm import Algorithm
from anypo.composition.compose import compose, suited_to
from anypo.runs.options import Recipe, RunConfig, idle, inapplicable, make_config, resolve
from anypo.data.load import PromptStream
from anypo_tasks.addition import is_built_in
from anypo.errors import AnypoError, ConfigError, TrainingError
from anypo.training.evaluation import HeldOutLoss, SampledScore
from anypo.models.forward import check_head
from anypo.training.learner import Learner
from anypo.models.adapters import add_lora, check_lora
from anypo.runs.setup import Materials, gather
from anypo.rewards.model import Inference
from anypo.models.load import end_tokens, load_model, model_path, sensible_threads
from anypo.runs.observer import Observer, Silent
from anypo.runs.provenance import describe
from anypo.training.frozen import ensure_precomputed
from anypo.runs.directory import RunDirectory
from anypo.sampling.make import Policy, check_sampler, make_sampler, unread_options
from anypo.training.trainer import Evaluation, Report, Trainer


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
    if config.model is not None:
        config = config.model_copy(update={"model": model_path(config.model)})
    built_in = is_built_in(config.model)
    if built_in:
        algorithm = suited_to("addition", algorithm)
    _refuse_inapplicable(config, algorithm)
    config = resolve(config, algorithm, built_in=built_in)
    accelerator = _accelerator(config)
    check_sampler(config, accelerator.device)
    check_lora(config)
    directory = RunDirectory(config.output, algorithm.named)
    _explain_inert_stages(algorithm, config, observer)
    inference = Inference(
        accelerator.device, config.token_budget, accelerator.autocast, config.trust_remote_code
    )
    materials = gather(algorithm, config, inference, observer)
    trainer = _trainer(algorithm, materials, accelerator)
    recipe = _recipe(algorithm, materials.config, bool(trainer.evaluations))
    directory.begin(recipe, describe(algorithm))
    with sensible_threads(trainer.model):
        _train(trainer, directory, materials.tokenizer, observer)
    return directory.path


def _trainer(algorithm: Algorithm, materials: Materials, accelerator: Accelerator) -> Trainer:
    """Load the weights, and put together who samples, scores, trains and evaluates."""
    config, tokenizer, scorer = materials.config, materials.tokenizer, materials.scorer
    set_seed(config.seed)
    model = load_model(
        materials.model,
        scalar_head=not algorithm.generates,
        trust_remote_code=config.trust_remote_code,
    )
    model.to(accelerator.device)
    check_head(model)
    if config.lora_rank is not None:
        add_lora(
            model,
            materials.model,
            rank=config.lora_rank,
            alpha=config.lora_alpha,
            modules=config.lora_modules,
        )
    policy = Policy(materials.model, model, end_tokens(model, tokenizer), accelerator)
    sampler = make_sampler(config, policy)
    learner = Learner(algorithm, model, config, accelerator)
    if config.precompute_reference:
        with sensible_threads(model):
            known = [*materials.prompts, *materials.held_out_rows]
            learner.precomputed = ensure_precomputed(learner, known)
    evaluations: list[Evaluation] = []
    if materials.held_out:
        evaluations.append(SampledScore(materials.held_out, sampler, scorer))
    if rows := materials.held_out_rows:
        evaluations.append(HeldOutLoss(rows, algorithm, learner, sampler, scorer))
    prompts = PromptStream(materials.prompts, config.seed)
    return Trainer(algorithm, learner, sampler, scorer, prompts, evaluations, config)


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
    is_set, lacks = config.model_fields_set, inapplicable(algorithm)
    if ignored := is_set & lacks.keys():
        option = min(ignored)
        raise ConfigError(
            f"{option} is set, but {algorithm.name} has no {lacks[option]}, so nothing would read "
            "it"
        )
    evaluates = config.data is None or config.eval_data is not None
    if "eval_every" in is_set and not evaluates:
        raise ConfigError("eval_every is set, but there are no held-out prompts: set eval_data")
    if config.reward and not evaluates and not algorithm.inputs.scorer:
        raise ConfigError(
            f"reward is set, but {algorithm.name} learns without one and there are no held-out "
            "prompts to score: set eval_data"
        )
    if "sampler" in is_set and not _samples(algorithm, config):
        raise ConfigError(
            f"sampler is set, but {algorithm.name} samples nothing, and nor does a held-out score: "
            "set reward and eval_data"
        )
    for option, meant_for in idle(config).items():
        if option in is_set:
            raise ConfigError(f"{option} is set, but not {meant_for}, so nothing would read it")
    if config.precompute_reference and not algorithm.inputs.fixed:
        raise ConfigError(
            f"precompute_reference is set, but {algorithm.name} makes new rows in every step: "
            "its reference model has to judge those"
        )
    if config.precompute_reference and config.ref_sync_every is not None:
        raise ConfigError("precompute_reference is set, but ref_sync_every moves the reference")
    if {"steps", "data_epochs"} <= is_set:
        raise ConfigError("steps and data_epochs are both set; one of them says how long to train")


def _samples(algorithm: Algorithm, config: RunConfig) -> bool:
    """Whether completions are sampled, be it to learn from them or to score held-out prompts."""
    scores = config.data is None or (bool(config.reward) and config.eval_data is not None)
    return algorithm.inputs.sampler or (algorithm.generates and scores)


def _explain_inert_stages(algorithm: Algorithm, config: RunConfig, observer: Observer) -> None:
    one_update = config.epochs * config.minibatches == 1
    if one_update and "old_logprobs" in algorithm.loss_requires:
        observer.note(
            "one update per rollout: every importance ratio is 1, so clipping has no effect "
            "(--minibatches or --epochs above 1 make it matter)"
        )


def _recipe(algorithm: Algorithm, config: RunConfig, evaluates: bool) -> Recipe:
    knobs: dict[str, Any] = {
        knob.name: knob.value
        for knob in algorithm.knobs.values()
        if knob.name in algorithm.active_knobs and knob.value is not None
    }
    hooks = {layer.stage: layer.name for layer in algorithm.layers if layer.stage is not None}
    ignored = {*inapplicable(algorithm), *unread_options(config), *idle(config)}
    ignored |= {"output", "data_epochs"}  # steps says it
    if not _samples(algorithm, config):
        ignored.add("sampler")
    if not evaluates:
        ignored.add("eval_every")
    if not config.precompute_reference:  # written down, it would bar a variation without one
        ignored.add("precompute_reference")
    options: dict[str, Any] = config.model_dump(exclude=ignored)
    return Recipe(algorithm.named, options, knobs, hooks)
