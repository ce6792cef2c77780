"""Keys and values of texts, kept so that those who go on from them need not read them again."""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor
from transformers import DynamicCache

from anypo.hooks.batch import Prompt, Sample
from anypo.hooks.sampler import Memory

KEPT = 4  # times as many tokens as go through the model together
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


def keep(
    memory: Memory | None, samples: Sequence[Sample], known: Mapping[int, Known], budget: int
) -> None:
    """Keep what is known of completions that have ended, as long as there is room.

    Args:
        memory: Keeps it.
        samples: All, of which some are known by their place.
        known: Of their tokens, and of what was drawn behind the end.
        budget: Tokens that go through the model together.
    """
    if memory is None:
        return
    room = KEPT * budget - sum(map(len, memory.held))
    for place, text in known.items():
        sample = samples[place]
        read = tuple(sample.prompt_ids + sample.completion_ids[:-1])
        if not sample.truncated and read not in memory.held and len(read) <= room:
            memory.held[read] = [(keys[:, : len(read)], v[:, : len(read)]) for keys, v in text]
            room -= len(read)


def taken(
    memory: Memory | None, prompts: Sequence[Prompt], ends: Sequence[int]
) -> list[Known | None]:
    """What is known of prompts that go on from replies; nothing else is kept any longer."""
    if not (memory and memory.held):
        return [None] * len(prompts)
    held, memory.held = memory.held, {}
    return [_known(prompt.ids, held, ends) for prompt in prompts]


def _known(
    ids: list[int], held: Mapping[tuple[int, ...], Known], ends: Sequence[int]
) -> Known | None:
    """Of all before the last token that ended a reply."""
    places = (place for place in reversed(range(len(ids))) if ids[place] in ends)
    return next((held[read] for place in places if (read := tuple(ids[:place])) in held), None)


def _rows(texts: Sequence[Float[Tensor, "h t d"]]) -> Float[Tensor, "N h T d"]:
    heads, _, size = texts[0].shape
    longest = max(text.shape[1] for text in texts)
    rows = texts[0].new_zeros(len(texts), heads, longest, size)
    for row, text in zip(rows, texts, strict=True):
        row[:, longest - text.shape[1] :] = text
    return rows
