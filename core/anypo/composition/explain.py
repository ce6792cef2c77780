"""Say what an algorithm is: read from the hooks that run, so it cannot drift from them."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from anypo.composition.blame import code_of, layer_of, location
from anypo.hooks.rollout import Inputs
from anypo.hooks.specs import MERGED, STAGES

if TYPE_CHECKING:
    from anypo.composition.algorithm import Algorithm
    from anypo.composition.stack import Knob


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


def explain(algorithm: Algorithm) -> Explanation:
    """The explanation of an algorithm; see `Algorithm.explain`."""
    return Explanation(
        name=algorithm.name,
        stack=tuple((layer.name, first_line(layer.source)) for layer in algorithm.layers),
        answers=tuple(
            _answer(algorithm, stage, impl)
            for stage in STAGES
            for impl in _active(algorithm, stage)
        ),
        knobs=tuple(algorithm.knobs.values()),
        active_knobs=algorithm.active_knobs,
        requires=algorithm.requires,
        inputs=algorithm.inputs,
    )


def _active(algorithm: Algorithm, stage: str) -> list[Any]:
    impls = algorithm.answers(stage)
    if stage in MERGED:
        return [impl for impl in impls if impl.plugin_name not in algorithm.silent]
    wrappers = [impl for impl in impls if impl.wrapper]
    return wrappers + [impl for impl in impls if not impl.wrapper][:1]


def _answer(algorithm: Algorithm, stage: str, impl: Any) -> Answer:
    code = code_of(impl)
    return Answer(
        stage=stage,
        plugin=layer_of(algorithm, impl).name,
        wraps=impl.wrapper,
        formula=first_line(impl.function),
        source=location(code.co_filename, impl.function.__module__, code.co_firstlineno),
    )


def first_line(documented: Any) -> str:
    """The first line of a docstring, or nothing."""
    return inspect.cleandoc(documented.__doc__ or "").partition("\n")[0]
