"""What a rollout keeps of its prompts, and what it says is dropped for good."""

from collections.abc import Sequence

from anypo.composition.algorithm import Algorithm
from anypo.errors import PluginError
from anypo.hooks.batch import Prompt, Sample
from anypo.hooks.rollout import Sampler, Scorer
from anypo.hooks.specs import DROPPED, State

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
    """The samples of the first rollout that keeps any, as far as those before say that they do not.

    A rollout that drops all of its prompts for good, such as one that only measures at first, is
    asked again; nothing is kept by one that says nothing of it.
    """
    for _ in range(ROLLOUTS):
        samples = algorithm.rollout(prompts, sampler, scorer, state, data)
        for_good = dropped(algorithm, state, len(prompts))
        if samples or not for_good:
            break
    return samples
