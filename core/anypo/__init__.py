"""anypo: any policy optimization. A registry of LLM post-training algorithms.

An algorithm is a stack of plugins that answer the stages of a training step: rollout, advantage,
ratio, clip, regularizer, weight. See `anypo.hookspecs`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anypo.algorithm import Algorithm, Loss
    from anypo.batch import Batch, Prompt, Sample, collate
    from anypo.composition import compose
    from anypo.config import RunConfig
    from anypo.errors import AnypoError
    from anypo.hook_api import HOOK_API_VERSION
    from anypo.hookspecs import hookimpl
    from anypo.launch import run
    from anypo.loading import load_function
    from anypo.plugin import Plugin
    from anypo.rollout import Sampler, Scorer, sample_groups

# Importing torch takes seconds, so a name is imported when it is first used (PEP 562).
_HOME = {
    "HOOK_API_VERSION": "hook_api",
    "Algorithm": "algorithm",
    "AnypoError": "errors",
    "Batch": "batch",
    "Loss": "algorithm",
    "Plugin": "plugin",
    "Prompt": "batch",
    "RunConfig": "config",
    "Sample": "batch",
    "Sampler": "rollout",
    "Scorer": "rollout",
    "collate": "batch",
    "compose": "composition",
    "hookimpl": "hookspecs",
    "load_function": "loading",
    "run": "launch",
    "sample_groups": "rollout",
}

__all__ = [
    "HOOK_API_VERSION",
    "Algorithm",
    "AnypoError",
    "Batch",
    "Loss",
    "Plugin",
    "Prompt",
    "RunConfig",
    "Sample",
    "Sampler",
    "Scorer",
    "collate",
    "compose",
    "hookimpl",
    "load_function",
    "run",
    "sample_groups",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'anypo' has no attribute '{name}'")
    return getattr(import_module(f"anypo.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
