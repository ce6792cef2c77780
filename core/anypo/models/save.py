"""Save a model that is being trained as an ordinary model directory."""

from pathlib import Path

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from anypo.models.adapters import has_lora, save_lora
from anypo.models.weights import whole_weights
from anypo.support.saving import write_on_first
from anypo.support.world import World


def save_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, world: World
) -> None:
    """Save the model, adapters merged into it, and its tokenizer in a folder that exists.

    The first process does, and all wait for it.

    Raises:
        SaveError: It cannot be written.
    """

    def write() -> None:
        if has_lora(model):
            whole = whole_weights(model, torch.float32)  # which small updates need
            model.save_pretrained(folder, state_dict={n: weight.cpu() for n, weight in whole})
            model.config.dtype = torch.float32
            model.config.save_pretrained(folder)
            save_lora(model, folder / "adapter")
        else:
            model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)

    write_on_first(world, folder, write)
