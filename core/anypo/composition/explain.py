"""Say what an algorithm is: read from the hooks that run, so it cannot drift from them."""

import inspect
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pluggy

from anypo.composition.blame import code_of
from anypo.composition.calls import Calls
from anypo.composition.findings import Findings
from anypo.composition.knobs import Knob
from anypo.hooks.rollout import Inputs
from anypo.hooks.specs import STAGES
from anypo.support.foreign import location


@dataclass(frozen=True)
class Answer:
    """One plugin's answer to a stage."""

    stage: str
    plugin: str
    wraps: bool  # whether it wraps the answers below instead of replacing them
    formula: str  # the first line of the hook's docstring
    source: str  # file:line


@dataclass(frozen=True)
class Explanation:
    """What a composed algorithm does."""

    name: str
    stack: tuple[tuple[str, str], ...]  # (plugin, its one line), bottom first
    answers: tuple[Answer, ...]  # only the active ones, stage by stage, outermost first
    knobs: tuple[Knob, ...]
    active_knobs: frozenset[str]
    requires: frozenset[str]
    inputs: Inputs

    def as_dict(self) -> dict[str, Any]:
        """The same as lists and dicts, whose keys stay what they are."""
        inputs = asdict(self.inputs)
        return {
            "name": self.name,
            "stack": [{"plugin": name, "summary": line} for name, line in self.stack],
            "answers": [asdict(answer) for answer in self.answers],
            "knobs": [
                {**asdict(knob), "active": knob.name in self.active_knobs} for knob in self.knobs
            ],
            "requires": sorted(self.requires),
            "inputs": inputs | {name: sorted(inputs[name]) for name in ("completions", "columns")},
        }


def explain(calls: Calls, knobs: Mapping[str, Knob], findings: Findings) -> Explanation:
    """The explanation of an algorithm; see `Algorithm.explain`."""
    asked = [(stage, x) for stage in (*STAGES, "distribution") for x in calls.asked(stage)]
    silent = {("regularizer", label) for label in findings.silent}
    return Explanation(
        name=calls.name,
        stack=tuple((layer.name, first_line(layer.source)) for layer in calls.layers.values()),
        answers=tuple(
            _answer(calls, stage, x) for stage, x in asked if (stage, x.plugin_name) not in silent
        ),
        knobs=tuple(knobs.values()),
        active_knobs=findings.active_knobs,
        requires=findings.requires,
        inputs=findings.inputs,
    )


def first_line(documented: Any) -> str:
    """The first line of a docstring, or nothing."""
    return inspect.cleandoc(documented.__doc__ or "").partition("\n")[0]


def _answer(calls: Calls, stage: str, impl: pluggy.HookImpl) -> Answer:
    code = code_of(impl)
    return Answer(
        stage=stage,
        plugin=calls.layers[impl.plugin_name].name,
        wraps=impl.wrapper,
        formula=first_line(impl.function),
        source=location(code.co_filename, impl.function.__module__, code.co_firstlineno),
    )
