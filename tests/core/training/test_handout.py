"""Weights are handed out to modules that have none."""

import copy

import pytest
import torch
from tiny_models import save, tiny_config, tiny_model

from anypo.models.load import load_model
from anypo.support.world import World
from anypo.training.distributed import _layers_of
from anypo.training.handout import Handout


@pytest.fixture
def both(model_dir):
    """A model, and one without weights."""
    return load_model(model_dir), load_model(model_dir, empty=True)


def test_all_that_a_module_lacks_is_handed_out_and_what_is_tied_stays_tied(both):
    whole, empty = both
    Handout(World(), torch.device("cpu"), {empty: whole}).fill(empty)
    assert empty.lm_head.weight is empty.model.embed_tokens.weight
    ids = torch.arange(5).unsqueeze(0)  # rotary frequencies are no weights, but there
    assert torch.equal(empty(ids).logits, whole(ids).logits)
    own = {id(weight) for weight in whole.parameters()}
    assert own.isdisjoint(map(id, empty.parameters()))


def test_a_part_is_given_no_more_than_its_own_in_its_own_precision(both):
    whole, empty = both
    frozen = copy.deepcopy(empty).to(torch.bfloat16).requires_grad_(False)
    layer = frozen.model.layers[0]
    Handout(World(), torch.device("cpu"), {frozen: whole}).fill(layer)
    there = [weight for weight in frozen.parameters() if not weight.is_meta]
    assert {id(weight) for weight in there} == {id(weight) for weight in layer.parameters()}
    for mine, theirs in zip(there, whole.model.layers[0].parameters(), strict=True):
        assert torch.equal(mine, theirs.to(torch.bfloat16))
        assert not mine.requires_grad


def test_whatever_a_model_makes_itself_is_handed_out_too(tokenizer, tmp_path):
    folder = save(tiny_model(tiny_config("diffllama", tokenizer)), tokenizer, tmp_path / "model")
    empty = load_model(folder, empty=True)
    assert all(weight.is_meta for weight in empty.parameters())


def test_layers_that_share_a_weight_with_others_stay_with_them(tokenizer):
    model = tiny_model(tiny_config("bert as a decoder", tokenizer))
    layers = _layers_of(model)
    assert layers
    inside = {id(weight) for layer in layers for weight in layer.parameters()}
    assert id(model.get_output_embeddings().weight) not in inside
