from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from anypo.data.stream import PromptStream
from anypo.hooks.batch import Prompt

POOL = [Prompt([i], str(i)) for i in range(7)]


@given(st.integers(0, 2**32), st.integers(0, 30))
def test_the_order_is_a_function_of_the_seed(seed, n):
    assert PromptStream(POOL, seed).draw(n) == PromptStream(POOL, seed).draw(n)


@given(st.integers(0, 100), st.integers(1, 9), st.integers(1, 4))
def test_every_prompt_comes_once_per_pass(seed, size, passes):
    stream = PromptStream([Prompt([i], str(i)) for i in range(size)], seed)
    for _ in range(passes):
        assert Counter(p.content for p in stream.draw(size)) == {str(i): 1 for i in range(size)}


@given(st.integers(0, 100), st.lists(st.integers(0, 10), max_size=6))
def test_the_sizes_of_the_draws_do_not_matter(seed, sizes):
    stream = PromptStream(POOL, seed)
    drawn = [prompt for n in sizes for prompt in stream.draw(n)]
    assert drawn == PromptStream(POOL, seed).draw(sum(sizes))
    assert stream.drawn == sum(sizes)


@given(st.integers(0, 100), st.integers(0, 30))
def test_a_stream_goes_on_from_the_number_drawn(seed, drawn):
    whole = PromptStream(POOL, seed).draw(drawn + 5)
    resumed = PromptStream(POOL, seed)
    resumed.drawn = drawn
    assert resumed.draw(5) == whole[drawn:]


def test_seeds_and_passes_have_orders_of_their_own():
    pool = [Prompt([i], str(i)) for i in range(100)]
    streams = [PromptStream(pool, seed) for seed in range(3)]
    orders = [str(stream.draw(100)) for _ in range(2) for stream in streams]
    assert len(set(orders)) == 6


def test_drawing_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    PromptStream(POOL, 1).draw(10)
    assert torch.equal(torch.get_rng_state(), before)
