"""One small model of each kind; `benchmarks/architectures.py` tries all that there are."""

import pytest
from architectures import examine

FAMILIES = {
    "plain attention": "llama",
    "positions learnt": "gpt2",
    "a partial rotary": "gpt_neox",
    "a window that slides, and capped logits": "gemma2",
    "scaled logits": "granite",
    "experts": "qwen3_moe",
    "linear attention": "qwen3_5_text",
    "recurrence beside attention": "falcon_h1",
    "recurrence alone": "mamba",
    "chunks of attention, and routers that are linear layers": "llama4_text",
}


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("kind", FAMILIES.values(), ids=FAMILIES)
def test_sampler_trainer_and_what_is_saved_agree(kind, tmp_path):
    examine(kind, tmp_path)
