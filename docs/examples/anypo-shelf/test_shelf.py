import pytest
from anypo import Turn

from anypo_shelf import Shelf

ROW = {"prompt": [], "shelves": [["cup"], ["book", "pen"], []], "thing": "pen"}


@pytest.fixture
def shelf():
    environment = Shelf()
    assert environment.reset(ROW) == " On which of 3 shelves is the pen?"
    return environment


def test_shelves_are_looked_at(shelf):
    assert shelf.look(1) == ["book", "pen"]
    with pytest.raises(IndexError):
        shelf.look(3)


def test_an_answer_ends_it_and_looks_cost(shelf):
    assert shelf.answer(1) == Turn(reward=1.0, done=True)
    assert shelf.answer(0) == Turn(reward=0.0, done=True)
    shelf.look(0)
    assert shelf.answer(1) == Turn(reward=1 / 1.1, done=True)


def test_replies_that_call_nothing_are_asked_to(shelf):
    assert not shelf.step({"role": "assistant", "content": "on the first"}).done
