"""What plugins remember from step to step, as bytes of which nothing but data is read."""

import io

import torch

from anypo.errors import SaveError
from anypo.hooks.batch import Batch, Completion, Prompt, Sample
from anypo.hooks.specs import State
from anypo.support.here import the_one

KEEPABLE = "numbers, texts, lists, dicts, sets, tensors, prompts and samples"


def packed(state: State) -> bytes:
    """What plugins remember, as bytes.

    Raises:
        SaveError: It could not be read again; naming the key, and what can be kept.
    """
    for key, value in state.items():
        try:
            unpacked(_pickled({key: value}))
        except Exception as error:
            raise SaveError(
                f"a plugin keeps a {type(value).__name__} in state['{key}'] that no checkpoint "
                f"can hold: {KEEPABLE} can be kept there"
            ) from error
    return _pickled(state)


def unpacked(data: bytes, device: dict[str, str] | None = None) -> State:
    """What plugins remembered; no code of the file is run."""
    with torch.serialization.safe_globals([Batch, Completion, Prompt, Sample, the_one]):
        state: State = torch.load(io.BytesIO(data), map_location=device, weights_only=True)
    return state


def _pickled(state: State) -> bytes:
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()
