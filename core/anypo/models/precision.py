"""Frozen weights in fewer bits: those of linear layers, which are most of a model.

Source: QLoRA, Dettmers et al. 2023, arXiv:2305.14314, for four bits.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from anypo.errors import ConfigError, ModelError
from anypo.hooks.runtime import Runtime
from anypo.models.logits import decoder_of


def cast_anyway(model: PreTrainedModel) -> Iterator[nn.Parameter]:
    """The weights that autocast casts in every forward pass, so that nothing changes if they are.

    Neither the head, which is applied in float32, nor embeddings, norms and fused experts.
    """
    head = model.get_output_embeddings()
    body = model if head is None else decoder_of(model)
    for layer in body.modules():
        if isinstance(layer, nn.Linear | Conv1D) and layer is not head:
            yield from (w for w in layer.parameters(recurse=False) if w.is_floating_point())


def shrink_frozen(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Keep the frozen weights of linear layers in the precision of the computation."""
    for weight in cast_anyway(model):
        if not weight.requires_grad:
            weight.data = weight.data.to(dtype)


def stored_as(weights: str, quantize: str | None, runtime: Runtime) -> dict[str, Any]:
    """What `from_pretrained` is told of the weights: their precision, or that they have four bits.

    Raises:
        ConfigError: They are to be less precise than the computation.
    """
    dtype: torch.dtype = getattr(torch, weights)
    if dtype != torch.float32 and runtime.dtype == torch.float32:
        raise ConfigError(
            f"weights is {weights}, but the computation is in float32: set dtype to {weights} too"
        )
    if quantize is None:
        return {"dtype": dtype}
    from transformers import BitsAndBytesConfig

    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=quantize,
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=runtime.dtype,
    )
    return {"dtype": dtype, "quantization_config": config, "device_map": {"": runtime.device}}


def settle_quantized(model: Any) -> None:
    """Have a model that was loaded in four bits save the whole weights that it is given.

    Raises:
        ModelError: bitsandbytes would misread its weights.
    """
    if getattr(model, "hf_quantizer", None) is None:
        return
    model.hf_quantizer = None
    del model.config.quantization_config
    for name, layer in model.named_modules():
        if state := getattr(getattr(layer, "weight", None), "quant_state", None):
            layer.support_avx512bf16_for_cpu = False  # packed for that, they are for sampling alone
            if layer.weight.device.type == "cpu" and layer.in_features % state.blocksize:
                raise ModelError(
                    f"layer '{name}' has {layer.in_features} inputs, which is no multiple of "
                    f"{state.blocksize}, and such weights of four bits bitsandbytes misreads on a "
                    "CPU: leave quantize out"
                )


def dequantized(weight: Tensor) -> Tensor:
    """A weight as it is multiplied with, whatever it is stored as."""
    state = getattr(weight, "quant_state", None)
    if state is None:
        return weight.detach()
    from bitsandbytes.functional import dequantize_4bit

    whole: Tensor = dequantize_4bit(weight.detach(), state)
    return whole
