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

    All processes must: where they share the weights, the first one puts them together.

    Raises:
        SaveError: It cannot be written.
    """
    adapted, weights = has_lora(model), None
    if adapted or any(hasattr(weight, "full_tensor") for weight in model.parameters()):
        dtype = torch.float32 if adapted else None  # which small updates need
        every = whole_weights(model, dtype)
        weights = {name: weight.cpu() for name, weight in every if world.is_first}

    def write() -> None:
        model.save_pretrained(folder, state_dict=weights)
        if adapted:
            model.config.dtype = torch.float32
            model.config.save_pretrained(folder)
            save_lora(model, folder / "adapter")
        tokenizer.save_pretrained(folder)

    write_on_first(world, folder, write)
