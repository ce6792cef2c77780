"""anypo: any policy optimization. A registry of LLM post-training algorithms.

An algorithm is a stack of plugins that answer the stages of a training step: rollout, advantage,
ratio, clip, regularizer, weight. See `anypo.hooks.specs`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anypo.composition.algorithm import Algorithm, Loss
    from anypo.composition.compose import compose
    from anypo.data.tokens import Tokens
    from anypo.errors import (
        AnypoError,
        ConfigError,
        DataError,
        ModelError,
        RewardError,
        SamplerError,
        one_line,
    )
    from anypo.hooks.batch import Batch, Prompt, Sample, collate
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
    from anypo.rewards.deadline import DeadlineError, deadline
    from anypo.runs.observer import Observer
    from anypo.runs.options import RunConfig
    from anypo.runs.run import run
    from anypo.support.extras import check_installed
    from anypo.support.functions import load_function
    from anypo.training.trainer import Report

# Importing torch takes seconds, so a name is imported when it is first used (PEP 562).
_HOME = {
    "HOOK_API_VERSION": "hooks.version",
    "Algorithm": "composition.algorithm",
    "AnypoError": "errors",
    "Batch": "hooks.batch",
    "ConfigError": "errors",
    "DataError": "errors",
    "DeadlineError": "rewards.deadline",
    "Engine": "hooks.sampler",
    "Loss": "composition.algorithm",
    "ModelError": "errors",
    "Observer": "runs.observer",
    "Plugin": "hooks.plugin",
    "Prompt": "hooks.batch",
    "Report": "training.trainer",
    "RewardError": "errors",
    "RunConfig": "runs.options",
    "Runtime": "hooks.runtime",
    "Sample": "hooks.batch",
    "Sampler": "hooks.rollout",
    "SamplerError": "errors",
    "SamplerPlugin": "hooks.sampler",
    "SamplingRequest": "hooks.sampler",
    "Scorer": "hooks.rollout",
    "Task": "hooks.task",
    "Tokens": "data.tokens",
    "check_installed": "support.extras",
    "collate": "hooks.batch",
    "compose": "composition.compose",
    "deadline": "rewards.deadline",
    "hookimpl": "hooks.specs",
    "load_function": "support.functions",
    "model_path": "models.load",
    "one_line": "errors",
    "run": "runs.run",
    "sample_groups": "hooks.rollout",
    "score_tokens": "models.forward",
    "sensible_threads": "models.load",
    "whole_weights": "models.weights",
}

__all__ = [
    "HOOK_API_VERSION",
    "Algorithm",
    "AnypoError",
    "Batch",
    "ConfigError",
    "DataError",
    "DeadlineError",
    "Engine",
    "Loss",
    "ModelError",
    "Observer",
    "Plugin",
    "Prompt",
    "Report",
    "RewardError",
    "RunConfig",
    "Runtime",
    "Sample",
    "Sampler",
    "SamplerError",
    "SamplerPlugin",
    "SamplingRequest",
    "Scorer",
    "Task",
    "Tokens",
    "check_installed",
    "collate",
    "compose",
    "deadline",
    "hookimpl",
    "load_function",
    "model_path",
    "one_line",
    "run",
    "sample_groups",
    "score_tokens",
    "sensible_threads",
    "whole_weights",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'anypo' has no attribute '{name}'")
    return getattr(import_module(f"anypo.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
