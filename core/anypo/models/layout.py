"""What a decoder is given of a batch, and where the tokens of its rows are in what it returns."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import PreTrainedModel

from anypo.hooks.batch import Batch


class Layout(NamedTuple):
    """R lines of W tokens, which hold the tokens of N rows."""

    inputs: dict[str, Tensor]  # of the decoder
    places: Int[Tensor, "N L"]  # of the rows' tokens, counted through all lines

    def states(self, decoder: nn.Module) -> Float[Tensor, "R*W H"]:
        """What the decoder says of all tokens."""
        states: Tensor = decoder(**self.inputs, use_cache=False).last_hidden_state
        return states.flatten(0, 1)


def one_by_one(batch: Batch, *, masked: bool) -> Layout:
    """A line for each row: padded on the right, so that only what counts tokens needs a mask."""
    length = int(batch.sequence_lengths.max())
    input_ids = batch.input_ids[:, :length]
    places = torch.arange(input_ids.numel(), device=input_ids.device).view(input_ids.shape)
    inputs = {"input_ids": input_ids}
    if masked:
        inputs["attention_mask"] = (places % length < batch.sequence_lengths[:, None]).long()
    return Layout(inputs, places)


def precision(model: PreTrainedModel) -> torch.dtype:
    """Of what goes on in its layers, here and now."""
    kind = model.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else model.dtype
