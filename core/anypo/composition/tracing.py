"""Say every hook call on standard error: what went in, who answered, what came out.

The environment variable ANYPO_TRACE_HOOKS turns it on: 1 for the calls of a run, 2 for those of the
trial that `compose` makes too.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pluggy
from torch import Tensor

from anypo.errors import ConfigError, printable
from anypo.hooks.batch import Batch

TRACE = "ANYPO_TRACE_HOOKS"
LEVELS = ("0", "1", "2")


def trace_from(level: int, manager: pluggy.PluginManager) -> None:
    """From now on, trace the hooks of a manager, if ANYPO_TRACE_HOOKS is that level or higher.

    Raises:
        ConfigError: It is something else than a level.
    """
    asked = os.environ.get(TRACE) or "0"
    if asked not in LEVELS:
        raise ConfigError(f"{TRACE} is '{asked}'; 1 traces the hooks, 2 those of the trial too")
    if int(asked) >= level:
        manager.add_hookcall_monitoring(lambda *_: None, _after)  # one line afterwards tells all


def shown(x: Any) -> str:
    """A value in a few words: of tensors the shape and dtype."""
    if isinstance(x, Tensor):
        return f"{list(x.shape)} {str(x.dtype).removeprefix('torch.')}"
    if isinstance(x, Batch):
        return f"Batch {list(x.mask.shape)}"
    if isinstance(x, dict):
        return f"{{{', '.join(f'{name}: {shown(value)}' for name, value in x.items())}}}"
    if isinstance(x, list | tuple) and x and not isinstance(x[0], dict | Tensor):
        return f"{len(x)} {type(x[0]).__name__}"
    if isinstance(x, list | tuple):
        return f"[{', '.join(map(shown, x))}]"
    plain = x is None or isinstance(x, bool | int | float | str | set | frozenset)
    return f"{x!r:.60}" if plain else type(x).__name__


def _after(
    outcome: pluggy.Result[Any],
    stage: str,
    impls: Sequence[pluggy.HookImpl],
    arguments: Mapping[str, Any],
) -> None:
    given = ", ".join(f"{name}={shown(value)}" for name, value in arguments.items())
    who = [f"{i.plugin_name} (wraps)" if i.wrapper else i.plugin_name for i in reversed(impls)]
    error = outcome.exception
    came = f"{type(error).__name__}: {error}" if error else shown(outcome.get_result())
    line = f"hook {stage}({given}) by {', '.join(who) or 'nobody'} -> {came}"
    print(" ".join(printable(line).split()), file=sys.stderr)
