import pytest
import torch
from anypo import Batch, Turn, compose
from anypo.testing import Conformance

from anypo_mastermind import Mastermind, TurnDiscount, rows, turns_after


class TestConformance(Conformance):
    plugin = TurnDiscount


@pytest.fixture
def game():
    environment = Mastermind()
    said = environment.reset({"prompt": [], "code": "abba", "letters": "abc"})
    assert said == " It has 4 of the letters abc."
    return environment


def guess(game, content):
    return game.step({"role": "assistant", "content": content})


def test_a_game(game):
    assert guess(game, "cccc") == Turn("0 right, 0 misplaced.", 0.0, False)
    assert guess(game, "aacb") == Turn("1 right, 2 misplaced.", 0.25, False)
    assert guess(game, "bbba") == Turn("3 right, 0 misplaced.", 0.5, False)
    assert guess(game, "aaaa") == Turn("2 right, 0 misplaced.", 0.0, False)
    assert guess(game, " abba\n") == Turn("4 right, 0 misplaced.", 0.25, True)


@pytest.mark.parametrize("reply", ["", "abb", "abbab", "abbx", "It is abba."])
def test_what_is_no_guess_is_worth_nothing(game, reply):
    assert guess(game, reply) == Turn("Guess 4 of the letters abc.")


def test_the_rows_are_those_of_the_seed_and_can_be_played():
    first, *others = rows(20, letters="xyz", length=5)
    assert [first, *others] == list(rows(20, letters="xyz", length=5))
    assert len({row["code"] for row in others}) > 10
    Mastermind().reset(first)
    assert set(first["code"]) <= set("xyz")
    assert len(first["code"]) == 5


MASK = torch.tensor([[1, 1, 0, 1, 0, 1], [0, 1, 1, 0, 0, 0]]).bool()


def test_turns_are_told_apart_by_what_is_said_between():
    assert turns_after(MASK)[MASK].tolist() == [2, 2, 1, 0, 0, 0]


def test_credit_fades_towards_the_first_turn():
    batch = Batch(mask=MASK, group=torch.tensor([0, 0]), rewards=torch.tensor([1.0, 0.0]))
    prepared = compose("dr_grpo", TurnDiscount(turn_discount=0.5)).prepare(batch)
    assert prepared.advantages.tolist() == [
        [0.125, 0.125, 0, 0.25, 0, 0.5],
        [0, -0.5, -0.5, 0, 0, 0],
    ]
