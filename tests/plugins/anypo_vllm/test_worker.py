"""What needs no vLLM of what runs inside it."""

from types import SimpleNamespace

import pytest
import torch

from anypo_vllm.worker import WeightReceiver


def test_experts_on_a_cpu_would_keep_their_weights_so_they_are_refused():
    worker = WeightReceiver()
    worker.device = torch.device("cpu")
    model_config = SimpleNamespace(get_num_experts=lambda: 4)
    worker.vllm_config = SimpleNamespace(model_config=model_config)
    with pytest.raises(ValueError, match="packs the weights of experts once and for all"):
        worker.anypo_load([], "1")
    assert worker.anypo_version() == "none"
