"""Properties of several steps: state, repetition, and the other device."""

from __future__ import annotations

import torch

from anypo.composition.algorithm import Algorithm
from anypo.errors import SaveError
from anypo.hooks.remembered import packed, unpacked
from anypo.hooks.specs import State, beginning
from anypo.testing.cases import make_case, roll_out
from anypo.testing.outcome import Outcome, difference, evaluate
from anypo.testing.report import NotApplicable, Violation
from anypo.testing.subject import Subject

BEFORE, AFTER = (13, 14, 15), (16, 17)  # seeds of the steps before and after the checkpoint


def state_survives(subject: Subject) -> None:
    """A run that is saved and loaded goes on as if it had not been: all memory is in `state`."""
    going_on, resumed = subject.made_anew(), subject.made_anew()
    state = beginning()
    for seed in BEFORE:
        _step(going_on, seed, state)
    loaded = _saved_and_loaded(state)
    for seed in AFTER:
        expected, came = _step(going_on, seed, state), _step(resumed, seed, loaded)
        found = difference(expected, came)
        if found:
            raise Violation(
                f"after its state was saved and loaded: {going_on.blame(found.stage)}: "
                f"{found.text}\nstate: {sorted(state)}\n"
                "usual cause: something is remembered on the plugin or in its module; keep it in "
                "`state`, which is all that a checkpoint saves"
            )


def determinism(subject: Subject) -> None:
    """The same batch gives the same loss and gradient, bit by bit, every time."""
    for seed in BEFORE:
        if roll_out(subject.algorithm, seed) != roll_out(subject.algorithm, seed):
            blamed = subject.algorithm.blame("rollout")
            raise Violation(f"{blamed} makes other samples the second time\n{_RANDOM}")
    found = subject.unsteadiness
    if found:
        raise Violation(
            f"the second time: {subject.algorithm.blame(found.stage)}: {found.text}\n{_RANDOM}"
        )


_RANDOM = (
    "usual cause: random numbers, or something remembered outside of `state`; the seed of a "
    "generator can be kept in `state`"
)


def gpu(subject: Subject) -> None:
    """On the GPU the loss and the gradient are those on the CPU."""
    if not torch.cuda.is_available():
        raise NotApplicable("there is no GPU")
    same_on(subject, torch.device("cuda"))


def same_on(subject: Subject, device: torch.device) -> None:
    """Raise a Violation if a device gives another loss or gradient than the CPU."""
    for case in subject.cases:
        expected = evaluate(subject.algorithm, case)
        came = evaluate(subject.algorithm, case.to(device)).restored(lambda x: x.cpu())
        found = difference(expected, came)
        if found:
            raise Violation(f"on {device}: {subject.algorithm.blame(found.stage)}: {found.text}")


def _step(algorithm: Algorithm, seed: int, state: State) -> Outcome:
    samples = roll_out(algorithm, seed, state=state)
    return evaluate(algorithm, make_case(algorithm, samples, seed), state=state)


def _saved_and_loaded(state: State) -> State:
    try:
        return unpacked(packed(state))
    except SaveError as error:
        raise Violation(
            f"`state` cannot be saved and loaded: {error}\n"
            "usual cause: an object or a function is kept in `state`"
        ) from error
