"""How much of what the machine can multiply an update makes use of."""

from __future__ import annotations

import time
from statistics import median
from typing import Any

import torch

from speed import ours
from speed.making import config_of
from speed.shapes import Made, Shape

SIDE, SIDE_ON_GPU = 1536, 8192  # of the matrices by which the machine is judged
TRIES = 15
PASSES = 3  # a backward pass is two products where the forward pass is one


def useful(config: dict[str, Any], shape: Shape, tokens: float) -> float:
    """The floating-point operations that an update cannot do without.

    Every prompt is read once, whatever its group; nothing is padded or computed again.

    Args:
        config: Of a Qwen2.
        shape: What a step is given.
        tokens: Of all completions.
    """
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    keys = hidden * config["num_key_value_heads"] // config["num_attention_heads"]
    layer = 2 * hidden * hidden + 2 * hidden * keys + 3 * hidden * config["intermediate_size"]
    prompt, completion = shape.prompt_tokens, tokens / shape.rows
    read = shape.prompts * prompt + tokens
    pairs = shape.prompts * prompt * (prompt + 1) / 2
    pairs += shape.rows * completion * (prompt + (completion + 1) / 2)
    products = layers * layer * read + hidden * config["vocab_size"] * tokens
    return PASSES * 2 * (products + layers * 2 * hidden * pairs)


def rate() -> float:
    """Floating-point operations per second of a product of large matrices."""
    on_gpu = torch.cuda.is_available()
    kind = {"device": "cuda", "dtype": torch.bfloat16} if on_gpu else {}
    side = SIDE_ON_GPU if on_gpu else SIDE
    a, b = torch.randn(2, side, side, **kind)
    seconds = []
    for _ in range(TRIES):
        start = time.perf_counter()
        (a @ b)[0, 0].item()  # waits for a GPU
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / median(seconds)


def share(shape: Shape, made: Made, threads: int) -> dict[str, float]:
    """What an update of GRPO reaches, and what the machine does beside it."""
    torch.set_num_threads(threads)
    before = rate()
    laps = ours.train(shape, made, threads, "grpo", {})
    possible, seconds = (before + rate()) / 2, median(laps.phase("update"))
    reached = useful(config_of(shape), shape, median(laps.tokens)) / seconds
    return {
        "update, s": round(seconds, 2),
        "useful GFLOP/s": round(reached / 1e9, 1),
        "of a product": round(possible / 1e9, 1),
        "share": round(reached / possible, 2),
    }
