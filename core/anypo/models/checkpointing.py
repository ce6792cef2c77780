"""Keep only what goes into each layer, and compute the rest again in the backward pass.

Source: Training Deep Nets with Sublinear Memory Cost, Chen et al. 2016, arXiv:1604.06174.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel
from transformers.modeling_layers import GradientCheckpointingLayer

from anypo.errors import ConfigError

LARGE = 10**9  # parameters, from which on the activations are worth a second forward pass


def checkpoint_activations(
    model: PreTrainedModel, asked: bool | None, device: torch.device
) -> None:
    """Have the layers of a model keep their inputs alone, where it is asked for or worth it.

    It is worth it on a GPU, for a large model. transformers would do it in training mode only, in
    which there is dropout; here nothing else changes.

    Raises:
        ConfigError: It is asked for, and transformers does not say what the layers are.
    """
    worth_it = device.type == "cuda" and model.num_parameters() > LARGE
    if not (worth_it if asked is None else asked):
        return
    layers = [layer for layer in model.modules() if isinstance(layer, GradientCheckpointingLayer)]
    if asked and not layers:
        raise ConfigError(
            f"gradient_checkpointing is set, but transformers cannot do it for "
            f"{type(model).__name__}: leave it out"
        )
    for layer in layers:
        layer.forward = partial(_forgetful, layer.forward)


def _forgetful(forward: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not torch.is_grad_enabled():  # when sampling, with a cache that grows
        return forward(*args, **kwargs)
    again = partial(forward, **kwargs)
    return checkpoint(again, *args, use_reentrant=False, preserve_rng_state=False)
