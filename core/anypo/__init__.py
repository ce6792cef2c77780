"""anypo: any policy optimization. A registry of LLM post-training algorithms.

An algorithm is a stack of plugins that answer the stages of a training step: rollout, advantage,
ratio, clip, regularizer, weight. See `anypo.hooks.specs`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anypo.composition.algorithm import Algorithm
    from anypo.composition.compose import compose
    from anypo.composition.loss import Loss
    from anypo.data.tokens import Tokens
    from anypo.errors import (
        AnypoError,
        ConfigError,
        DataError,
        ModelError,
        RewardError,
        SamplerError,
        StoppedError,
        nearest,
        one_line,
        printable,
    )
    from anypo.hooks.batch import Batch, Prompt, Sample, collate
    from anypo.hooks.environment import Environment, Turn
    from anypo.hooks.plugin import Plugin
    from anypo.hooks.rollout import Sampler, Scorer, sample_groups
    from anypo.hooks.runtime import Runtime
    from anypo.hooks.sampler import Engine, SamplerPlugin, SamplingRequest
    from anypo.hooks.specs import hookimpl
    from anypo.hooks.task import Task
    from anypo.hooks.version import HOOK_API_VERSION
    from anypo.models.forward import score_tokens
    from anypo.models.load import model_path, sensible_threads
    from anypo.models.weights import whole_weights
    from anypo.rewards.answers import Judgement
    from anypo.runs.collect import Collected, collect
    from anypo.runs.evaluate import Assessment, evaluate
    from anypo.runs.observer import Observer
    from anypo.runs.options import RunConfig
    from anypo.runs.reading import RunRecord, read_run
    from anypo.runs.resume import resume
    from anypo.runs.run import run
    from anypo.sampling.transformers import Transformers
    from anypo.support.deadline import DeadlineError, deadline
    from anypo.support.extras import check_installed
    from anypo.support.functions import load_function
    from anypo.support.retries import retried
    from anypo.support.together import together
    from anypo.training.trainer import Report

# Importing torch takes seconds, so a name is imported when it is first used (PEP 562).
_PUBLIC = {
    "composition.algorithm": "Algorithm",
    "composition.compose": "compose",
    "composition.loss": "Loss",
    "data.tokens": "Tokens",
    "errors": "AnypoError ConfigError DataError ModelError RewardError SamplerError StoppedError "
    "nearest one_line printable",
    "hooks.batch": "Batch Prompt Sample collate",
    "hooks.environment": "Environment Turn",
    "hooks.plugin": "Plugin",
    "hooks.rollout": "Sampler Scorer sample_groups",
    "hooks.runtime": "Runtime",
    "hooks.sampler": "Engine SamplerPlugin SamplingRequest",
    "hooks.specs": "hookimpl",
    "hooks.task": "Task",
    "hooks.version": "HOOK_API_VERSION",
    "models.forward": "score_tokens",
    "models.load": "model_path sensible_threads",
    "models.weights": "whole_weights",
    "rewards.answers": "Judgement",
    "runs.collect": "Collected collect",
    "runs.evaluate": "Assessment evaluate",
    "runs.observer": "Observer",
    "runs.options": "RunConfig",
    "runs.reading": "RunRecord read_run",
    "runs.resume": "resume",
    "runs.run": "run",
    "sampling.transformers": "Transformers",
    "support.deadline": "DeadlineError deadline",
    "support.extras": "check_installed",
    "support.functions": "load_function",
    "support.retries": "retried",
    "support.together": "together",
    "training.trainer": "Report",
}
_HOMES = {name: module for module, names in _PUBLIC.items() for name in names.split()}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'anypo' has no attribute '{name}'")
    return getattr(import_module(f"anypo.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
