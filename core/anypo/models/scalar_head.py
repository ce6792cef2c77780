"""Models that score a text instead of continuing it: sequence classifiers with one label."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def text_scores(
    model: nn.Module, input_ids: Int[Tensor, "N L"], lengths: Int[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """The score of each row, by the model's own reading of its last token.

    Args:
        model: A sequence classifier of transformers with one label.
        input_ids: Padded on the right, with anything.
        lengths: Of the rows, without padding.
    """
    length = int(lengths.max())
    real = torch.arange(length, device=input_ids.device) < lengths.unsqueeze(-1)
    # The model finds the last token by looking for padding, so padding must be what it looks for.
    padding = model.config.get_text_config().pad_token_id  # type: ignore[union-attr, operator]
    filled = torch.where(real, input_ids[:, :length], padding)
    logits: Tensor = model(input_ids=filled, attention_mask=real.long()).logits
    return logits.squeeze(-1).float()
