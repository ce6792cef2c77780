"""What runs inside vLLM's workers: it takes over weights, and tells which ones it has.

vLLM mixes `WeightReceiver` into its worker class (`worker_extension_cls`); its methods are called
by name through `collective_rpc`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

NAME = "anypo_vllm.worker.WeightReceiver"
SHAPE = (  # what the configurations of models with the same parameters agree in
    "model_type",
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "tie_word_embeddings",
)


class WeightReceiver:
    """Methods that vLLM's worker gets; `self` is the worker."""

    model_runner: Any
    vllm_config: Any
    device: torch.device
    weights_version = "none"  # since the worker started

    def anypo_describe(self) -> dict[str, Any]:
        """What the trainer must know before it uses this worker."""
        config = self.vllm_config.model_config
        return {
            "model": shape(config.hf_config),
            "dtype": str(config.dtype).removeprefix("torch."),
            "max_length": config.max_model_len,
            "logprobs": config.logprobs_mode,
        }

    def anypo_version(self) -> str:
        """Which weights the worker has."""
        return self.weights_version

    def anypo_load(self, weights: Iterable[tuple[str, Tensor]], version: str) -> None:
        """Take over the weights, layer by layer.

        Raises:
            ValueError: They are not all that the model has, or some would be ignored.
        """
        if self.device.type == "cpu" and self.vllm_config.model_config.get_num_experts():
            raise ValueError("on a CPU, vLLM packs the weights of experts once and for all")

        from vllm.config import set_current_vllm_config
        from vllm.model_executor.model_loader.reload import (
            finalize_layerwise_reload,
            initialize_layerwise_reload,
        )

        self.weights_version = "incomplete"
        model = self.model_runner.get_model()
        expected = {name for name, _ in model.named_parameters()}  # tied ones once
        with set_current_vllm_config(self.vllm_config), torch.device(self.device):
            initialize_layerwise_reload(model)
            loaded = model.load_weights(iter(weights))
            finalize_layerwise_reload(model, self.model_runner.model_config)
        _repack_head(model)
        if missing := expected - set(loaded):
            raise ValueError(f"no weights came for {', '.join(sorted(missing)[:3])}")
        self.weights_version = version

    def anypo_load_file(self, path: str, version: str) -> None:
        """Take over the weights in a file of safetensors."""
        self.anypo_load(_tensors(path), version)


def shape(config: Any) -> dict[str, Any]:
    """What decides which parameters a model has."""
    config = config.get_text_config()
    return {name: getattr(config, name, None) for name in SHAPE}


def _tensors(path: str) -> Iterator[tuple[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        for name in file.keys():  # noqa: SIM118 -- it is no dict
            yield name, file.get_tensor(name)


def _repack_head(model: Any) -> None:
    """On a CPU a head keeps a packed copy of its weights, which the reload leaves if it is tied."""
    from vllm.model_executor.layers.vocab_parallel_embedding import ParallelLMHead

    for module in model.modules():
        packed = isinstance(module, ParallelLMHead) and hasattr(module, "cpu_linear")
        if packed and module.weight.numel():
            module.quant_method.process_weights_after_loading(module)
