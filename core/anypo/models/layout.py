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


def unpadded(batch: Batch) -> Layout:
    """All rows in one line, for attention that tells them apart by their positions."""
    lengths = batch.sequence_lengths[:, None]
    columns = torch.arange(int(lengths.max()), device=lengths.device)
    real = columns < lengths
    inputs = {
        "input_ids": batch.input_ids[:, : len(columns)][real][None],
        "position_ids": columns.expand(real.shape)[real][None],
    }
    return Layout(inputs, columns + lengths.cumsum(0) - lengths)


def without_padding(model: PreTrainedModel) -> bool:
    """Whether its attention takes all rows in one line for what they are, and saves by it."""
    return "flash_attention" in str(model.config._attn_implementation)
