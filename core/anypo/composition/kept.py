"""What a rollout keeps of its prompts, and what it says is dropped for good."""

from collections.abc import Sequence

from anypo.composition.algorithm import Algorithm
from anypo.errors import PluginError
from anypo.hooks.batch import Prompt, Sample
from anypo.hooks.rollout import Sampler, Scorer
from anypo.hooks.specs import DROPPED, STEP, State

ROLLOUTS = 16  # that may keep nothing, one after the other, before there is something to try


def dropped(algorithm: Algorithm, state: State, prompts: int) -> set[int]:
    """The positions of prompts that the last rollout dropped for good; they leave the state.

    Raises:
        PluginError: What is said there are no positions of so many prompts.
    """
    said = state.pop(DROPPED, ())
    if not (isinstance(said, list | tuple | set) and all(i in range(prompts) for i in said)):
        raise PluginError(
            f"{algorithm.blame('rollout')} leaves {said!r:.60} in state['{DROPPED}'], which is for "
            f"positions in `prompts`: 0 to {prompts - 1} here"
        )
    return set(said)


def first_kept(
    algorithm: Algorithm,
    prompts: Sequence[Prompt],
    sampler: Sampler,
    scorer: Scorer,
    state: State,
    data: Sequence[Prompt] = (),
) -> list[Sample]:
    """The samples of the first rollout that keeps any.

    One that keeps nothing may only measure at first, or draw lots: it is asked again, as if it were
    the next step.
    """
    first = state[STEP]
    for later in range(ROLLOUTS):
        state[STEP] = first + later
        samples = algorithm.rollout(prompts, sampler, scorer, state, data)
        dropped(algorithm, state, len(prompts))
        if samples:
            break
    state[STEP] = first
    return samples
