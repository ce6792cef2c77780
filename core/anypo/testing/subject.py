"""A plugin under check: its stack, what it claims, and the cases it is tried on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

import torch

from anypo.composition.algorithm import UNTRIED, Algorithm
from anypo.composition.knobs import resolve_knobs
from anypo.composition.refusals import refuse_misfits
from anypo.composition.stack import Layer, Stack, lay, layer_of
from anypo.composition.trial import BY_LENGTH, trial
from anypo.errors import AnypoError, PluginError, nearest
from anypo.functional.groups import rows_by_group
from anypo.hooks.specs import MERGED, STAGES
from anypo.testing.cases import Case, joined, make_case, prepared, roll_out, some_rows, with_holes
from anypo.testing.neutral import NeutralBase
from anypo.testing.outcome import Difference, Outcome, difference, evaluate
from anypo.testing.report import Violation

CLAIMS = {  # what a plugin may say of itself, and of which stages
    "reward_shift": ("rollout", "advantage"),
    "reward_scale": ("rollout", "advantage"),
    "stop_gradient": ("ratio", "clip", "regularizer"),
    "own_gradient": ("ratio", "clip"),
    "own_direction": ("ratio", "clip"),
    BY_LENGTH: ("weight",),
    "random_choice": ("rollout", "advantage", "weight"),
}
SHOWN = 6  # rows of a counterexample

Fails = Callable[[Case], Difference | None]


class Subject:
    """The stack that is checked.

    Args:
        plugins: Names, classes or instances, bottom first.
        knobs: Values by name.
        claims: What is claimed, instead of what the plugins say of themselves; None: that.
        base: What is put below what is no whole algorithm by itself.
    """

    def __init__(
        self,
        plugins: Sequence[Any],
        knobs: Mapping[str, Any],
        claims: Sequence[str] | None,
        base: type[NeutralBase] = NeutralBase,
    ) -> None:
        self.plugins, self.knobs, self.given_claims, self.base = plugins, knobs, claims, base

    def on(self, base: type[NeutralBase]) -> Subject:
        """The same plugins on another base."""
        return Subject(self.plugins, self.knobs, self.given_claims, base)

    @cached_property
    def stack(self) -> Stack:
        """The stack. Raises AnypoError if it cannot be laid."""
        stack = lay(self.plugins, {})
        if set(STAGES) - set(MERGED) <= _replaced(stack.layers):
            return stack
        return replace(stack, layers=(layer_of(self.base), *stack.layers))

    @cached_property
    def replaced(self) -> set[str]:
        """The stages that the plugins answer by themselves, whatever is below them."""
        return _replaced([layer for layer in self.stack.layers if layer.source is not self.base])

    @cached_property
    def has_base(self) -> bool:
        """Whether the plugins need something below them, and nobody said what."""
        return self.stack.layers[0].source is self.base

    @cached_property
    def algorithm(self) -> Algorithm:
        """The stack, with what a trial finds unless it fails. Raises AnypoError at a misfit."""
        untried = Algorithm(self.stack, resolve_knobs(self.stack, self.knobs))
        try:
            return untried.knowing(trial(untried))
        except Exception:  # which `refusal` tells
            return untried

    def made_anew(self) -> Algorithm:
        """The same, of plugins that remember nothing."""
        return self.algorithm.knowing(self.algorithm.findings)

    @cached_property
    def without_penalties(self) -> Algorithm:
        """The stack with its gain alone."""
        algorithm = self.algorithm
        named = [impl.plugin_name for impl in algorithm.answers("regularizer")]
        penalties = dict.fromkeys(named, frozenset[str]())
        return algorithm.knowing(replace(algorithm.findings, overridden=penalties))

    @cached_property
    def name(self) -> str:
        """What the report calls it."""
        if self.misfit:
            return "+".join(p if isinstance(p, str) else _name(p) for p in self.plugins)
        return f"{self.algorithm.name}{' on a neutral base' * self.has_base}"

    @cached_property
    def misfit(self) -> str:
        """Why the plugins cannot be put together; empty if they can."""
        try:
            _refuse_unknown(self.given_claims or (), "you")
            for layer in self.stack.layers:
                _refuse_unknown(_claims_of(layer), f"'{layer.name}'")
            _ = self.algorithm
        except AnypoError as error:
            return str(error)
        return ""

    @cached_property
    def refusal(self) -> str:
        """Why `compose` refuses the stack after a trial; empty if it does not."""
        algorithm = self.algorithm
        try:
            if algorithm.findings is UNTRIED:
                algorithm = algorithm.knowing(trial(algorithm))
            refuse_misfits(algorithm)
        except AnypoError as error:
            return str(error)
        except Exception as error:  # a rollout may return anything
            return f"{type(error).__name__}: {error}"
        return ""

    @cached_property
    def trouble(self) -> str:
        """What goes wrong on the most ordinary batches; empty if nothing does."""
        on = ""
        try:
            for case in self.typical:
                sizes = ", ".join(str(len(rows)) for rows in rows_by_group(case.batch.group))
                on = f"\non {len(case)} rows, in groups of {sizes}"
                evaluate(self.algorithm, case)
        except AnypoError as error:
            return str(error) if str(error) == self.refusal else f"{error}{on}"
        return ""

    @cached_property
    def unsteadiness(self) -> Difference | None:
        """What differs the second time that the same batch is tried, if something does."""
        for case in self.cases:
            again = evaluate(self.algorithm, case)
            if found := difference(self.outcome(case), again, tolerance=0.0):
                return found
        return None

    def outcome(self, case: Case) -> Outcome:
        """What comes out of a case; of the usual ones that is known, and always the same."""
        return self._outcomes.get(id(case)) or evaluate(self.algorithm, case)

    @cached_property
    def _outcomes(self) -> dict[int, Outcome]:
        return {id(case): evaluate(self.algorithm, case) for case in self.cases}

    @cached_property
    def typical(self) -> list[Case]:
        """Ordinary batches, the smallest first: groups of two rows or more, none of them empty."""
        few = self.case(0, prompts=2, spread=1e-4)  # so near that no clip binds
        ragged = some_rows(self.case(1, prompts=4), self.algorithm.couples_groups, 1)
        return [few, with_holes(ragged), with_holes(self.case(2, spread=0.1))]

    @cached_property
    def cases(self) -> list[Case]:
        """The ordinary batches and an odd one, if the plugin can cope with that."""
        odd = self.odd
        try:
            copes = evaluate(self.algorithm, odd).is_finite
        except AnypoError:  # which the properties of edge cases report
            copes = False
        return [*self.typical, *([odd] if copes else [])]

    @cached_property
    def odd(self) -> Case:
        """A batch with an empty row and, unless groups belong together, a group of one."""
        case = self.case(3, prompts=4)
        first = rows_by_group(case.batch.group)[0]
        others = [row for row in range(len(case)) if row not in first]
        kept = case if self.algorithm.couples_groups else case.rows([first[0], *others[:8]])
        mask = kept.batch.mask.clone()
        mask[-1] = False
        return kept.with_batch(mask=mask)

    def case(self, seed: int, *, prompts: int = 3, spread: float = 0.3) -> Case:
        """The case of a rollout. Raises PluginError if the rollout keeps no sample."""
        samples = roll_out(self.algorithm, seed, prompts=prompts)
        if not samples:
            raise PluginError(f"{self.algorithm.blame('rollout')} kept none of the samples")
        return make_case(self.algorithm, samples, seed, spread=spread)

    def claims(self, claim: str) -> bool:
        """Whether the plugin that answers the stages a claim is about makes it.

        What a reward may do is said by the topmost plugin that answers one of the stages, of
        gradients by any that takes part.
        """
        stages, layers = CLAIMS[claim], reversed(self.algorithm.layers)
        if self.given_claims is not None:
            return claim in self.given_claims
        if claim.startswith("reward"):
            who = [layer for layer in layers if set(layer.replaces()) & set(stages)][:1]
        else:
            active = {a.plugin for a in self.algorithm.explain().answers if a.stage in stages}
            who = [layer for layer in layers if layer.name in active]
        return any(claim in _claims_of(layer) for layer in who)

    def units(self, case: Case) -> list[list[int]]:
        """Rows that no micro-batch may separate, in the groups that `advantage` made of them."""
        return self.algorithm.units(prepared(self.algorithm, case.each(torch.clone)))

    def refute(self, case: Case, fails: Fails, what: str, cause: str) -> None:
        """Raise a Violation with the fewest rows of a case that fail, if the case does."""
        if fails(case) is None:
            return
        case, found = smallest(case, fails, self.algorithm.units(case.batch))
        who = f"{self.algorithm.blame(found.stage)}: " if found.stage else ""
        raise Violation(f"{what}: {who}{found.text}\n{described(case)}\nusual cause: {cause}")


def _replaced(layers: Sequence[Layer]) -> set[str]:
    return {stage for layer in layers for stage in layer.replaces()}


def _claims_of(layer: Layer) -> Sequence[str]:
    claims: Sequence[str] = getattr(layer.source, "claims", ())
    return claims


def _refuse_unknown(claims: Sequence[str], who: str) -> None:
    for claim in claims:
        if claim not in CLAIMS:
            raise PluginError(f"{who} claims '{claim}'{nearest(claim, CLAIMS)}")


def smallest(case: Case, fails: Fails, units: Sequence[list[int]]) -> tuple[Case, Difference]:
    """The case without all units of rows that it fails without, and how it fails."""
    kept, chunk, found = list(units), max(1, len(units) // 2), fails(case)
    while chunk:
        at = 0
        while at < len(kept):
            fewer = kept[:at] + kept[at + chunk :]
            still = _still(fails, case.rows(joined(fewer))) if fewer else None
            if still:
                kept, found = fewer, still
            else:
                at += chunk
        chunk //= 2
    assert found is not None
    return case.rows(joined(kept)), found


def _still(fails: Fails, case: Case) -> Difference | None:
    try:
        return fails(case)
    except AnypoError:  # another failure than the one that is narrowed down
        return None


def described(case: Case) -> str:
    """The rows of a case in plain words."""
    rows = [_row(case, row) for row in range(min(len(case), SHOWN))]
    more = [f"and {len(case) - SHOWN} more"] if len(case) > SHOWN else []
    count = "1 row" if len(case) == 1 else f"{len(case)} rows"
    return "\n".join([f"on {count}:", *(f"  {line}" for line in [*rows, *more])])


def _row(case: Case, row: int) -> str:
    batch, tokens = case.batch, int(case.batch.lengths[row])
    facts = [f"group {int(batch.group[row])}", f"{tokens} token{'s' * (tokens != 1)}"]
    shown = {"rewards": "reward", "preference": "preference", "label": "label"}
    facts += [f"{shown[name]} {float(batch[name][row]):.4g}" for name in shown if name in batch]
    facts += ["truncated"] if bool(batch.truncated[row]) else []
    return f"row {row}: {', '.join(facts)}"


def _name(plugin: Any) -> str:
    try:
        return layer_of(plugin).name
    except AnypoError:
        return str(getattr(plugin, "__name__", type(plugin).__name__))
