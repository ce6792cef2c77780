import pytest
import torch
from transformers import DynamicCache

from anypo.sampling.cache import ROOM, RoomyLayer


def grown(layers, steps):
    """What transformers' layer and ours hold after some tokens each."""
    for step in range(steps):
        new = torch.randn(2, 3, 1 + step % 3, 4)
        found = [layer.update(new, -new) for layer in layers]
    return found


@pytest.fixture
def layers():
    torch.manual_seed(0)
    return [DynamicCache().layer_class_to_replicate(), RoomyLayer()]


@pytest.mark.parametrize("steps", [1, 2, ROOM + 3])
def test_it_holds_what_a_layer_of_transformers_holds(layers, steps):
    theirs, ours = grown(layers, steps)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    assert layers[1].get_seq_length() == layers[0].get_seq_length()


@pytest.mark.parametrize(
    "change",
    [
        lambda layer: layer.reorder_cache(torch.tensor([1, 0])),
        lambda layer: layer.batch_select_indices(torch.tensor([1, 1])),
        lambda layer: layer.crop(-2),
    ],
)
def test_and_so_it_does_when_its_rows_have_been_chosen_or_cut(layers, change):
    grown(layers, 3)
    for layer in layers:
        change(layer)
    theirs, ours = grown(layers, 4)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_a_token_more_leaves_those_before_where_they_are(layers):
    grown(layers, 2)
    place = layers[1].keys.data_ptr()
    grown(layers, 3)
    assert layers[1].keys.data_ptr() == place
