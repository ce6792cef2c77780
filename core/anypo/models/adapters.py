"""Low-rank adapters: train a small update of every linear layer, and leave the model itself alone.

Source: LoRA, Hu et al. 2021, arXiv:2106.09685.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from anypo.errors import ConfigError, nearest, one_line
from anypo.models.options import AdapterOptions

ADAPTER = "default"  # peft's own name for the only one


def add_lora(model: PreTrainedModel, base: str, options: AdapterOptions) -> None:
    """Freeze the weights, and give the linear layers adapters that change nothing yet.

    The layers are replaced in place. A head that the adapters leave out, like the random one of a
    new reward model, is trained whole. Whoever loads the adapters is told `base`, the directory or
    hub name that the model comes from.

    Raises:
        ConfigError: The model has no such layers, they can have no adapter, or the rank is larger
            than any of them.
    """
    from peft import LoraConfig, inject_adapter_in_model

    unfit = _unfit(model.base_model)
    _check_modules(model.base_model, options.lora_modules, unfit)
    _check_rank(model.base_model, options.lora_rank or 0)
    scores = model.get_output_embeddings() is None
    adapter = LoraConfig(
        r=options.lora_rank or 0,
        lora_alpha=options.lora_alpha,
        target_modules=list(options.lora_modules) or "all-linear",
        exclude_modules=unfit or None,
        modules_to_save=_heads(model) if scores else None,
        task_type="SEQ_CLS" if scores else "CAUSAL_LM",
        base_model_name_or_path=str(Path(base).resolve()) if Path(base).is_dir() else base,
    )
    try:
        with warnings.catch_warnings(action="ignore"):  # of what peft adapts itself to
            inject_adapter_in_model(adapter, model, ADAPTER)
    except ValueError as error:
        raise ConfigError(f"peft makes no adapters for this model: {one_line(error)}") from error
    _check_shared(model)
    for weight in model.parameters():
        if weight.requires_grad:  # peft makes it as precise as what it is put on
            weight.data = weight.data.float()


def has_lora(model: nn.Module) -> bool:
    """Whether the model has adapters."""
    return hasattr(model, "peft_config")


@contextmanager
def without_lora(model: nn.Module) -> Iterator[None]:
    """What the model was before it had adapters, as long as the block runs."""
    layers = _layers(model)
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def adapters_by_weight(model: nn.Module) -> dict[int, Any]:
    """The adapters, under the identity of the weight that each of them updates."""
    return {
        id(getattr(layer.get_base_layer(), getattr(layer, "parameter_name", "weight"))): layer
        for layer in _layers(model)
    }


def own_name(name: str) -> str | None:
    """A weight's name in the model without adapters; None if it is an adapter's, or replaced.

    Nor has it one if it tells how a weight is quantized.
    """
    if ".lora_" in name or ".original_module." in name or ".weight." in name:
        return None
    return name.replace(".base_layer", "").replace(f".modules_to_save.{ADAPTER}", "")


def save_lora(model: PreTrainedModel, folder: Path) -> None:
    """Save the adapters alone, as peft does, for `PeftModel.from_pretrained`."""
    from peft import get_peft_model_state_dict

    folder.mkdir(parents=True, exist_ok=True)
    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    named = {f"base_model.model.{name}": weight.contiguous() for name, weight in weights.items()}
    save_file(named, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    model.peft_config[ADAPTER].save_pretrained(folder)


def _heads(model: PreTrainedModel) -> list[str]:
    """What has weights and is beside the body of the model."""
    beside = [pair for pair in model.named_children() if pair[1] is not model.base_model]
    return [name for name, child in beside if next(child.parameters(), None) is not None]


def _unfit(body: nn.Module) -> list[str]:
    """Linear layers to which no update can be added."""
    linear = [pair for pair in body.named_modules() if isinstance(pair[1], nn.Linear)]
    return [name for name, layer in linear if _read_by_kernel(body, name) or not _multiplies(layer)]


def _read_by_kernel(body: nn.Module, name: str) -> bool:
    """Kernels for state spaces take the weight of the last product themselves."""
    owner, _, own = name.rpartition(".")
    return own == "out_proj" and hasattr(body.get_submodule(owner), "A_log")


@torch.no_grad()
def _multiplies(layer: nn.Linear) -> bool:
    """Whether it returns the product alone: routers return more, grouped layers do otherwise."""
    if type(layer).forward is nn.Linear.forward:
        return True
    try:
        dtype = layer.weight.dtype if layer.weight.is_floating_point() else None
        product = layer(torch.zeros(1, layer.in_features, dtype=dtype, device=layer.weight.device))
    except RuntimeError:
        return False
    return getattr(product, "shape", None) == (1, layer.out_features)


def _check_modules(body: nn.Module, modules: Sequence[str], unfit: Sequence[str]) -> None:
    layers = [pair for pair in body.named_modules() if pair[0] not in unfit]
    linear = [name for name, layer in layers if isinstance(layer, nn.Linear | Conv1D)]
    for wanted in modules:
        if not any(f".{name}".endswith(f".{wanted}") for name in linear):
            known = {name.rpartition(".")[2] for name in linear}
            raise ConfigError(
                f"lora_modules names '{wanted}', but the body of the model has no linear layer of "
                f"that name that could have one{nearest(wanted, known)}"
            )


def _check_rank(body: nn.Module, rank: int) -> None:
    layers: list[Any] = [x for x in body.modules() if isinstance(x, nn.Linear | Conv1D)]
    sizes = [
        (x.nf, x.nx) if isinstance(x, Conv1D) else (x.in_features, x.out_features) for x in layers
    ]
    highest = max(map(min, sizes), default=rank)
    if rank > highest:
        raise ConfigError(
            f"lora_rank is {rank}, but no layer of the model can be changed by more than a rank of "
            f"{highest}"
        )


def _check_shared(model: PreTrainedModel) -> None:
    """Each would learn its own update, and whoever loads the model would have one for all."""
    places = Counter(id(weight) for _, weight in model.named_parameters(remove_duplicate=False))
    shared = [weight for weight in adapters_by_weight(model) if places[weight] > 1]
    if shared:
        named = model.named_parameters(remove_duplicate=False)
        one, other, *_ = [own_name(name) for name, weight in named if id(weight) == shared[0]]
        raise ConfigError(
            "adapters are asked for on weights that several layers share and that can have no "
            f"update each, such as '{one}' and '{other}': name with lora_modules the layers that "
            "share none"
        )


def _layers(model: nn.Module) -> list[Any]:
    if not has_lora(model):
        return []
    from peft.tuners.tuners_utils import BaseTunerLayer

    return [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
