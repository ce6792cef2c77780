"""What a model says of the next token of texts that grow, and what it remembers of them."""

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from inspect import signature
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, PreTrainedModel, cache_utils

from anypo.hooks.runtime import Runtime
from anypo.models.logits import Making, decoder_of, logits_of
from anypo.sampling.cache import RoomyLayer, new_cache
from anypo.sampling.recall import Known, known_of, length_of, recall

ATTENTION = {RoomyLayer} | {  # layers of a cache that hold keys and values alone
    getattr(cache_utils, name, DynamicCache) for name in ("DynamicSlidingWindowLayer", "DummyLayer")
}
ROUNDING = 0.02  # of logits, relative; of bfloat16 weights it is some 0.005
EXACT = Runtime()
CACHES = ("past_key_values", "cache_params")  # what the argument for it is called


class Continuation:
    """Texts that grow by a token at a time.

    Args:
        model: Of transformers.
        prompts: Token ids, of one length unless the model `can_pad`.
        making: How it makes logits, where that is known.
        known: What is remembered of the beginning of each prompt, which is then not read.
        remembers: Whether it reads only what is new; otherwise all, every time.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        prompts: list[list[int]],
        making: Making | None = None,
        known: Sequence[Known] = (),
        *,
        remembers: bool = True,
    ) -> None:
        self.model, self.decoder, self.making = model, decoder_of(model), making
        takes = signature(self.decoder.forward).parameters.keys()
        name = next((name for name in CACHES if name in takes), "")
        self.remembered = {name: new_cache(model)} if remembers and name else {}
        read = [length_of(text) for text in known] or [0] * len(prompts)
        new = zip(prompts, read, strict=True)
        rows = [torch.tensor(prompt[start:], dtype=torch.long) for prompt, start in new]
        padded = partial(pad_sequence, batch_first=True, padding_side="left")
        given = {"input_ids": padded(rows)}
        parts = [rows, [torch.ones(start, dtype=torch.long) for start in read]]
        after, before = (padded([torch.ones_like(row) for row in part]) for part in parts)
        mask = torch.cat([before, after], -1)
        for cache in self.remembered.values():
            recall(cache, known)
        if "position_ids" in takes:
            given["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)[:, before.shape[1] :]
        if not mask.all():  # without one, attention is faster
            given["attention_mask"] = mask
        self.given = {name: tensor.to(model.device) for name, tensor in given.items()}

    def logits(self) -> Float[Tensor, "N V"]:
        """Of the token that follows each text."""
        known: Any = {**self.given, **self.remembered, "use_cache": bool(self.remembered)}
        states = self.decoder(**known).last_hidden_state[:, -1]
        return logits_of(self.model, states, self.making)

    def append(self, tokens: Int[Tensor, " N"]) -> None:
        """Add a token to each text."""
        for name, before in self.given.items():
            last = before[:, -1:]
            new = {"input_ids": tokens.unsqueeze(-1), "position_ids": last + 1}.get(name, last)
            whole = name == "attention_mask" or not self.remembered
            self.given[name] = torch.cat([before, new], -1) if whole else new

    def select(self, rows: Int[Tensor, " n"]) -> None:
        """Go on with the texts at `rows`, of which some may be the same."""
        self.given = {name: tensor[rows] for name, tensor in self.given.items()}
        for cache in self.remembered.values():
            cache.reorder_cache(rows)  # type: ignore[arg-type]

    def known(self, rows: Int[Tensor, " n"]) -> list[Known]:
        """What is remembered of the texts at `rows`, without padding."""
        (cache,) = self.remembered.values()
        size = cache.get_seq_length()
        mask = self.given.get("attention_mask")
        read = rows.new_ones(len(rows), size) if mask is None else mask[rows, :size]
        columns = [row.nonzero().squeeze(-1) for row in read]
        return [known_of(cache, *each) for each in zip(rows.tolist(), columns, strict=True)]


def can_go_on(model: PreTrainedModel) -> bool:
    """Whether what a cache holds of a text is keys and values of all of its tokens."""
    return can_pad(model) and all(type(x) is RoomyLayer for x in new_cache(model).layers)


def can_pad(model: PreTrainedModel) -> bool:
    """Whether padding before a prompt changes nothing: all is attention, and told the positions.

    What reads its tokens one after the other, by recurrence or convolution, would read it too.
    """
    takes = signature(decoder_of(model).forward).parameters.keys()
    told = {"position_ids", "past_key_values"} <= takes
    attention = all(type(layer) in ATTENTION for layer in new_cache(model).layers)
    return told and attention and not model._is_stateful


@torch.no_grad()
def can_remember(model: PreTrainedModel, runtime: Runtime = EXACT) -> bool:
    """Whether a cache holds all that a model has to know of a text; some have state elsewhere."""
    text = [i % model.config.get_text_config().vocab_size for i in range(1, 9)]
    exact = all(weight.dtype == torch.float32 for weight in model.parameters())
    with nullcontext() if exact else runtime.autocast():
        expected = Continuation(model, [text] * 2, remembers=False).logits()
        texts = Continuation(model, [text[:-1]])
        try:
            texts.logits()
            texts.select(torch.tensor([0, 0], device=model.device))
            texts.append(torch.tensor(text[-1:] * 2, device=model.device))
            found = texts.logits()
        except (AttributeError, TypeError, ValueError):  # it has a cache of its own kind
            return False
    return bool((found - expected).norm() <= ROUNDING * expected.norm())
