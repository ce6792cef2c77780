import pytest
import torch

from anypo.models.load import load_model
from anypo.models.unreal import Alive, Reserve, pretend, stored_bytes
from anypo.support.allocator import heap_size

CPU = torch.device("cpu")


@pytest.fixture
def made(model_dir):
    model = load_model(model_dir, empty=True)
    pretend([model], CPU)
    return model


def test_it_is_as_large_as_the_real_one(model_dir, made):
    real = load_model(model_dir)
    assert stored_bytes([made], trained=True) == sum(w.nbytes for w in real.parameters())
    assert stored_bytes([made, made, None], trained=True) == stored_bytes([made], trained=True)
    assert stored_bytes([made], trained=False) == 0


def test_it_behaves_as_if_it_were_somewhere(made):
    assert made.device == CPU
    assert made.get_input_embeddings().weight is made.get_output_embeddings().weight
    assert made(input_ids=torch.zeros(2, 3, dtype=torch.long)).logits.shape[:2] == (2, 3)


def test_four_bits_count_where_the_weights_are_frozen(made):
    whole = stored_bytes([made.requires_grad_(False)], trained=False)
    assert stored_bytes([made], trained=False, four_bits=True) < 0.3 * whole


def test_what_is_alive_is_counted_until_it_is_gone(made):
    alive = Alive(made, Reserve(torch.device("meta")))
    states = made.get_input_embeddings().weight
    with alive:
        products = states @ states.T
        assert alive.now == products.nbytes
        del products
    assert (alive.now, alive.most) == (0, len(states) ** 2 * 4)


@pytest.mark.skipif(not heap_size(), reason="the allocator does not say what it has")
def test_the_allocator_is_asked_what_it_makes_of_blocks():
    reserve = Reserve(CPU)
    reserve.take(1, 2**26)
    reserve.give_back(1)
    assert reserve.most >= 2**26


def test_more_than_there_is_is_not_reserved():
    reserve = Reserve(CPU)
    reserve.take(1, 2**60)
    reserve.take(2, 2**26)
    assert reserve.most == 0
