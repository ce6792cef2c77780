"""Attention in lines that hold a prompt and its completions: each sees the prompt and itself alone.

A mask over the whole line would have the scores between completions computed for nothing, and holds
the square of its length. Here a prompt sees itself, and each completion the prompt and itself. It
stands in for transformers' `sdpa`, and is that where there are no such lines.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward


@dataclass(frozen=True)
class Parts:
    """Where prompts and completions are in R lines of W tokens."""

    prompt: int  # tokens of the longest prompt; every line begins with its own
    line: Int[Tensor, " N"]  # of each completion
    own: Int[Tensor, "N T"]  # places of its tokens, counted through all lines; any where it is over
    hidden: Float[Tensor, "N 1 T P+T"]  # added to its scores of the prompt and of itself
    back: Int[Tensor, "R W"]  # where each token is among those of prompts and then of completions


def parts_of(
    line: Int[Tensor, " N"],
    prompts: Int[Tensor, " N"],
    places: Int[Tensor, "N L"],
    real: Bool[Tensor, "N L"],
    size: torch.Size,
    dtype: torch.dtype,
) -> Parts:
    """The parts of lines, as `sharing.packed` lays them out.

    Args:
        line: Of every row.
        prompts: The tokens of each row's prompt.
        places: Of every row's tokens, counted through all lines.
        real: Which of them are no padding.
        size: The number of lines, and their tokens.
        dtype: Of attention scores.
    """
    lines, width = size
    longest, tokens = int(prompts.max()), max(1, int((real.sum(-1) - prompts).max()))
    own = torch.arange(tokens, device=line.device)
    columns = (prompts[:, None] + own).clamp(max=places.shape[1] - 1)
    within = own < (real.sum(-1) - prompts)[:, None]
    own_places = torch.where(within, places.gather(1, columns), 0)
    before = torch.arange(longest, device=line.device) < prompts[:, None]
    seen = torch.cat([before[:, None].expand(-1, tokens, -1), _causal(within)], -1)
    hidden = torch.zeros(seen.shape, dtype=dtype, device=line.device)
    hidden.masked_fill_(~seen, torch.finfo(dtype).min)
    places_of_prompts = torch.arange(lines * width, device=line.device).view(size)[:, :longest]
    numbers = torch.arange(lines * longest + own_places.numel(), device=line.device)
    back = numbers.new_zeros(lines * width)
    back[places_of_prompts] = numbers[: lines * longest].view(lines, longest)
    back[own_places[within]] = numbers[lines * longest :].view_as(within)[within]
    return Parts(longest, line, own_places, hidden[:, None], back.view(size))


def marked(parts: Parts) -> Float[Tensor, "1 1 1 1"]:
    """What a decoder is given as its mask: it hands it on, as it does with ready-made ones.

    Whoever takes it for a mask of scores gets NaN.
    """
    mask = parts.hidden.new_full((1, 1, 1, 1), torch.nan)
    mask.parts = parts  # type: ignore[attr-defined]
    return mask


def attention(
    module: nn.Module,
    query: Float[Tensor, "R H W d"],
    key: Float[Tensor, "R h W d"],
    value: Float[Tensor, "R h W e"],
    attention_mask: Tensor | None,
    **given: Any,
) -> tuple[Float[Tensor, "R W H e"], None]:
    """What `sdpa_attention_forward` says, of lines whose parts the mask tells."""
    parts: Parts | None = getattr(attention_mask, "parts", None)
    if parts is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **given)
    if given.get("position_bias") is not None:
        raise NotImplementedError("a bias of positions is that of the whole line")
    asking, keys, values = (x[:, :, : parts.prompt] for x in (query, key, value))
    before, _ = sdpa_attention_forward(module, asking, keys, values, None, **given)
    keys, values = (
        torch.cat([x[parts.line], _at(whole, parts.own)], 2)
        for x, whole in ((keys, key), (values, value))
    )
    asking = _at(query, parts.own)
    after, _ = sdpa_attention_forward(module, asking, keys, values, parts.hidden, **given)
    together = torch.cat([before.flatten(0, 1), after.flatten(0, 1)])
    found = together.index_select(0, parts.back.flatten())
    return found.view(*parts.back.shape, *found.shape[1:]), None


def _at(x: Float[Tensor, "R H W d"], places: Int[Tensor, "N T"]) -> Float[Tensor, "N H T d"]:
    tokens = x.transpose(1, 2).flatten(0, 1).index_select(0, places.flatten())
    return tokens.view(*places.shape, *tokens.shape[1:]).transpose(1, 2)


def _causal(within: Bool[Tensor, "N T"]) -> Bool[Tensor, "N T T"]:
    tokens = within.shape[1]
    return within.new_ones(tokens, tokens).tril().expand(len(within), -1, -1)


AttentionInterface.register("sdpa", attention)
