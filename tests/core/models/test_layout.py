import pytest
import torch
from tiny_models import tiny_config, tiny_model

from anypo.hooks.batch import Sample, collate
from anypo.models.layout import one_by_one, unpadded, without_padding
from anypo.models.logits import decoder_of

BATCH = collate([Sample([5, 6, 7], [8, 9], 0), Sample([10], [11], 1), Sample([12], [13] * 6, 2)])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", ["qwen2", "gpt2", "gemma2"])
def test_rows_in_one_line_have_the_states_of_rows_alone(kind, masked, tokenizer):
    decoder = decoder_of(tiny_model(tiny_config(kind, tokenizer)))
    layouts = one_by_one(BATCH, masked=masked), unpadded(BATCH)
    assert layouts[1].inputs["input_ids"].shape == (1, BATCH.sequence_lengths.sum())
    real = torch.arange(7) < BATCH.sequence_lengths[:, None]
    states = [layout.states(decoder)[layout.places[real]] for layout in layouts]
    torch.testing.assert_close(*states, rtol=1e-4, atol=1e-5)


def test_only_flash_attention_does_without_padding(model):
    assert not without_padding(model)
    model.config._attn_implementation = "flash_attention_2"
    assert without_padding(model)
