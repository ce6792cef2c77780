import os
import random
import time

import numpy as np
import pytest
import torch
from accelerate import debug_launcher
from hypothesis import given
from hypothesis import strategies as st

from anypo.errors import PeerError, RewardError
from anypo.support.world import ALONE, World, shares


def here():
    return World(torch.distributed.get_rank(), torch.distributed.get_world_size())


@pytest.fixture
def together(tmp_path, monkeypatch):
    """What a function returns in each of two processes."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")

    def together(function):
        def write():
            world = here()
            torch.save(function(world), tmp_path / f"{world.rank}.pt")

        debug_launcher(write, num_processes=2)
        return [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]

    return together


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 6))
def test_shares_are_all_there_in_order_and_about_as_much(costs, number):
    parts = shares(costs, number)
    assert len(parts) == number
    assert [place for part in parts for place in part] == list(range(len(costs)))
    if costs:
        fair = sum(costs) / number
        assert all(sum(costs[i] for i in part) <= fair + max(costs) for part in parts)


def test_a_process_alone_talks_to_itself():
    before = torch.get_rng_state()
    with ALONE.agreed(), ALONE.apart():
        assert ALONE.gather(3) == [3]
        assert ALONE.on_first(lambda: "done") == "done"
        assert ALONE.sum_(torch.ones(2)).tolist() == [1, 1]
    assert torch.equal(torch.get_rng_state(), before)


def test_processes_tell_each_other(together):
    def told(world):
        made = world.on_first(lambda: os.getpid())
        total = world.sum_(torch.tensor([1.0 + world.rank]))
        return world.gather(world.rank), made, total.item()

    one, other = together(told)
    assert one == other
    assert one[0] == [0, 1]
    assert one[2] == 3.0


def test_an_error_of_one_is_the_error_of_all(together):
    def failing(world):
        try:
            with world.agreed():
                if world.rank == 1:
                    raise RewardError("no reward")
        except RewardError as error:
            return str(error)

    assert together(failing) == ["no reward"] * 2


def test_an_error_of_another_kind_is_told_by_name(together):
    def failing(world):
        try:
            with world.agreed():
                if world.rank == 1:
                    raise SystemExit(0)
        except (PeerError, SystemExit) as error:
            return type(error).__name__, str(error)

    first, second = together(failing)
    assert first == ("PeerError", "another process failed with SystemExit: 0")
    assert second == ("SystemExit", "0")


def test_each_draws_its_own_numbers_apart_and_the_same_ones_after(together):
    def drawn(world):
        torch.manual_seed(0), random.seed(0), np.random.seed(0)
        with world.apart():
            own = torch.rand(1).item(), random.random(), np.random.rand()
            for _ in range(world.rank):  # one draws more than the other
                torch.rand(1), random.random(), np.random.rand()
        return own, (torch.rand(1).item(), random.random(), np.random.rand())

    one, other = together(drawn)
    assert all(a != b for a, b in zip(one[0], other[0], strict=True))
    assert one[1] == other[1]


def test_who_talks_to_a_process_that_is_gone_is_told_so(together):
    def leaving(world):
        if world.rank == 1:
            torch.distributed.destroy_process_group()
            return "gone"
        time.sleep(0.5)
        try:
            world.gather(0)
        except PeerError as error:
            return str(error)

    first, _ = together(leaving)
    assert first.startswith("another process of the run is gone")
