"""What needs no vLLM of running it in this process."""

import pytest

from anypo import SamplerError
from anypo_vllm.engine import check_unchanged


def test_a_model_whose_code_vllm_changes_is_refused(model, monkeypatch):
    check_unchanged(model)

    def changed(*inputs, **options):
        raise AssertionError("this is made for vLLM")

    changed.__module__ = "vllm.compilation.decorators"
    monkeypatch.setattr(type(model.get_decoder()), "__call__", changed)
    with pytest.raises(SamplerError, match="vLLM changes how Qwen3ForCausalLM is called"):
        check_unchanged(model)
