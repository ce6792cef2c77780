"""Keys and values of texts, kept so that those who go on from them need not read them again."""

from collections.abc import Sequence
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

Known = list[tuple[Tensor, Tensor]]  # keys and values in every layer of one text; [h t d]


def known_of(cache: DynamicCache, row: int, columns: Int[Tensor, " t"]) -> Known:
    """What a cache holds of a row, at some columns."""
    layers: Any = cache.layers  # all of which hold keys and values, or nobody goes on
    return [(layer.keys[row][:, columns], layer.values[row][:, columns]) for layer in layers]


def length_of(known: Known) -> int:
    """Of how many tokens it is."""
    return known[0][0].shape[1]


def recall(cache: DynamicCache, texts: Sequence[Known]) -> None:
    """Fill an empty cache with what is known of texts, a row each, padded on the left."""
    for place, layers in enumerate(zip(*texts, strict=True)):
        keys, values = zip(*layers, strict=True)
        cache.update(_rows(keys), _rows(values), place)


def _rows(texts: Sequence[Float[Tensor, "h t d"]]) -> Float[Tensor, "N h T d"]:
    heads, _, size = texts[0].shape
    longest = max(text.shape[1] for text in texts)
    rows = texts[0].new_zeros(len(texts), heads, longest, size)
    for row, text in zip(rows, texts, strict=True):
        row[:, longest - text.shape[1] :] = text
    return rows
