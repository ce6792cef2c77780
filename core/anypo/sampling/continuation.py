"""What a model says of the next token of texts that grow, and what it remembers of them."""

from inspect import signature
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache, PreTrainedModel, cache_utils

from anypo.models.forward import _logits, decoder_of

ATTENTION = {  # layers of a cache that hold keys and values alone
    getattr(cache_utils, name, DynamicCache)
    for name in ("DynamicLayer", "DynamicSlidingWindowLayer", "DummyLayer")
}
CACHES = ("past_key_values", "cache_params")  # what the argument for it is called


class Continuation:
    """Texts that grow by a token at a time.

    Args:
        model: Of transformers.
        prompts: Token ids, of one length unless the model `can_pad`.
        remembers: Whether it reads only what is new; otherwise all, every time.
    """

    def __init__(
        self, model: PreTrainedModel, prompts: list[list[int]], *, remembers: bool = True
    ) -> None:
        self.model, self.decoder = model, decoder_of(model)
        takes = signature(self.decoder.forward).parameters.keys()
        name = next((name for name in CACHES if name in takes), "")
        self.remembered = {name: new_cache(model)} if remembers and name else {}
        rows = [torch.tensor(prompt, dtype=torch.long) for prompt in prompts]
        self.ids = pad_sequence(rows, True, padding_side="left").to(model.device)
        ones = [torch.ones_like(row) for row in rows]
        self.mask = pad_sequence(ones, True, padding_side="left").to(model.device)
        self.is_padded = min(map(len, prompts)) < self.mask.shape[1]
        self.takes_positions = "position_ids" in takes

    def logits(self) -> Float[Tensor, "N V"]:
        """Of the token that follows each text."""
        given: dict[str, Any] = {"input_ids": self.ids, **self.remembered}
        if self.is_padded:  # without a mask, attention is faster
            given["attention_mask"] = self.mask
        if self.takes_positions:
            positions = (self.mask.cumsum(-1) - 1).clamp(min=0)
            given["position_ids"] = positions[:, -self.ids.shape[1] :]
        states = self.decoder(**given, use_cache=bool(self.remembered)).last_hidden_state[:, -1]
        with torch.autocast(states.device.type, enabled=False):  # as the trainer's
            return _logits(self.model, states.to(self.model.get_output_embeddings().weight.dtype))

    def append(self, tokens: Int[Tensor, " N"]) -> None:
        """Add a token to each text."""
        new = tokens.unsqueeze(-1)
        self.ids = new if self.remembered else torch.cat([self.ids, new], -1)
        self.mask = torch.cat([self.mask, torch.ones_like(new)], -1)

    def select(self, rows: Int[Tensor, " n"]) -> None:
        """Go on with the texts at `rows`, of which some may be the same."""
        self.ids, self.mask = self.ids[rows], self.mask[rows]
        for cache in self.remembered.values():
            cache.reorder_cache(rows)


def can_pad(model: PreTrainedModel) -> bool:
    """Whether padding before a prompt changes nothing: all is attention, and told the positions.

    What reads its tokens one after the other, by recurrence or convolution, would read it too.
    """
    takes = signature(decoder_of(model).forward).parameters.keys()
    told = {"position_ids", "past_key_values"} <= takes
    attention = all(type(layer) in ATTENTION for layer in new_cache(model).layers)
    return told and attention and not model._is_stateful


@torch.no_grad()
def can_remember(model: PreTrainedModel) -> bool:
    """Whether a cache holds all that a model has to know of a text; some have state elsewhere."""
    text = list(range(1, 9))
    expected = Continuation(model, [text] * 2, remembers=False).logits()
    texts = Continuation(model, [text[:-1]])
    try:
        texts.logits()
        texts.select(torch.tensor([0, 0], device=model.device))
        texts.append(torch.tensor(text[-1:] * 2, device=model.device))
        found = texts.logits()
    except (AttributeError, TypeError, ValueError):  # it has a cache of its own kind
        return False
    rounding = torch.finfo(expected.dtype).eps ** 0.5
    return bool((found - expected).norm() <= rounding * expected.norm())


def new_cache(model: PreTrainedModel) -> DynamicCache:
    """An empty cache, with sliding layers only where the configuration says which they are.

    A window that it merely mentions may be a leftover that the model does not heed.
    """
    config = model.config.get_text_config()
    return DynamicCache(config=config if getattr(config, "layer_types", None) else None)
