"""Make an algorithm of plugins."""

from collections.abc import Mapping
from functools import reduce
from operator import or_
from typing import Any

from anypo.composition.algorithm import Algorithm
from anypo.composition.knobs import resolve_knobs, suiting
from anypo.composition.refusals import refuse_misfits
from anypo.composition.stack import Stack, lay
from anypo.composition.trial import trial
from anypo.errors import KnobError, PluginError, nearest
from anypo.hooks.specs import STAGES
from anypo.hooks.task import ChosenTask

TRIED = (0.0, 0.5, 1.0)  # of the way, where knobs follow a schedule


def compose(
    *plugins: Any,
    knobs: Mapping[str, Any] | None = None,
    hooks: Mapping[str, str] | None = None,
    **stages: str,
) -> Algorithm:
    """The algorithm of a stack of plugins, bottom first, checked on a made-up batch.

        compose("grpo", knobs={"group_size": 4})
        compose("dapo+gfpo+dual_clip")
        compose("dapo", GFPO(keep=8), MyClip())
        compose("grpo", clip="cispo")            # one stage from another plugin
        compose("grpo+my_file.py:MyClip")        # a class of a file, whose code is run

    Args:
        plugins: Names, also several joined by `+`, plugin classes or instances. `file.py:Class`
            and `module:Class` are names too. What a plugin extends is laid below it.
        knobs: Values by name, for the whole stack.
        hooks: For one stage, the plugin that answers it, whatever else the stack says.
        stages: The same as keywords.

    Raises:
        PluginError: A plugin is missing or broken, does not fit the others or answers wrongly.
        KnobError: A knob is unknown, out of range, given twice, or read by no active stage.
    """
    knobs, hooks = _named("knobs", knobs), _named("hooks", hooks)
    for name in sorted(stages.keys() - STAGES):
        how = f"a knob is set with knobs={{'{name}': {stages[name]!r:.60}}}"
        raise PluginError(f"there is no stage '{name}'{nearest(name, STAGES)}; {how}")
    for stage in stages.keys() & hooks.keys():
        raise PluginError(f"'{stage}' is taken from '{hooks[stage]}' and '{stages[stage]}'")
    return assemble(lay(plugins, {**hooks, **stages}), knobs)


def _named(what: str, values: Any) -> dict[str, Any]:
    if isinstance(values or {}, Mapping) and all(isinstance(name, str) for name in values or {}):
        return dict(values or {})
    raise KnobError(f"{what} is {values!r:.60}, which are no values by name")


def suited_to(task: ChosenTask, algorithm: Algorithm) -> Algorithm:
    """The algorithm with the knobs that suit a task, unless they are set.

    Where they do not go with what is set, the plugins' defaults stay.
    """
    given = {knob.name: knob.value for knob in algorithm.knobs.values() if knob.is_set}
    if suiting(algorithm.stack, task).keys() & algorithm.knobs.keys() <= given.keys():
        return algorithm
    try:
        return assemble(algorithm.stack, given, task)
    except KnobError:
        if not given:  # then it is the preference that is wrong
            raise
        return algorithm


def assemble(
    stack: Stack, settings: Mapping[str, Any], task: ChosenTask | None = None
) -> Algorithm:
    """The algorithm of a stack that is laid; see `compose`."""
    untried = Algorithm(stack, resolve_knobs(stack, settings, task))
    shares = TRIED if untried.scheduled else TRIED[:1]
    algorithm = untried.knowing(reduce(or_, [trial(untried.at(share)) for share in shares]))
    refuse_misfits(algorithm)
    return algorithm
