"""anypo: any policy optimization. A registry of LLM post-training algorithms.

An algorithm is a stack of plugins that answer the stages of a training step: rollout, advantage,
ratio, clip, regularizer, weight. See `anypo.hooks.specs`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from anypo.composition.algorithm import Algorithm, Loss
    from anypo.composition.compose import compose
    from anypo.errors import AnypoError
    from anypo.hooks.batch import Batch, Prompt, Sample, collate
    from anypo.hooks.plugin import Plugin
    from anypo.hooks.rollout import Sampler, Scorer, sample_groups
    from anypo.hooks.specs import hookimpl
    from anypo.hooks.version import HOOK_API_VERSION
    from anypo.runs.options import RunConfig
    from anypo.runs.run import run
    from anypo.support.functions import load_function

# Importing torch takes seconds, so a name is imported when it is first used (PEP 562).
_HOME = {
    "HOOK_API_VERSION": "hooks.version",
    "Algorithm": "composition.algorithm",
    "AnypoError": "errors",
    "Batch": "hooks.batch",
    "Loss": "composition.algorithm",
    "Plugin": "hooks.plugin",
    "Prompt": "hooks.batch",
    "RunConfig": "runs.options",
    "Sample": "hooks.batch",
    "Sampler": "hooks.rollout",
    "Scorer": "hooks.rollout",
    "collate": "hooks.batch",
    "compose": "composition.compose",
    "hookimpl": "hooks.specs",
    "load_function": "support.functions",
    "run": "runs.run",
    "sample_groups": "hooks.rollout",
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
