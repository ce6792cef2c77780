"""Whether a model can be trained: what is seen of it before the first step."""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from anypo.errors import ConfigError, ModelError
from anypo.hooks.batch import Batch, Sample, collate
from anypo.hooks.runtime import Runtime
from anypo.models.forward import TokenScorer
from anypo.models.layout import Layout, one_by_one, precision
from anypo.models.lines import Sharing
from anypo.models.load import load_tokenizer
from anypo.models.logits import decoder_of, own_logits
from anypo.models.sharing import packed

ROUNDING = {torch.float32: 1e-4, torch.bfloat16: 2e-2}  # of the largest state
# What models raise that cannot read a line of several rows.
CANNOT = AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError
LINE = 4  # times the longest row: no line of several is longer


def check_same_tokens(
    who: str, path: str, tokenizer: PreTrainedTokenizerBase, *, trusted: bool
) -> None:
    """Refuse a model that is to read the policy's tokens, and has others.

    Args:
        who: What it is called.
        path: Where it is.
        tokenizer: Of the policy.
        trusted: Whether code that comes with it may run.

    Raises:
        ConfigError: It lacks a token, or it has another number there.
    """
    theirs = load_tokenizer(path, trust_remote_code=trusted).get_vocab()
    for token, number in tokenizer.get_vocab().items():
        if theirs.get(token) != number:
            raise ConfigError(
                f"{who} has another tokenizer than the policy: the policy's token {number}, "
                f"{token!r:.40}, is {theirs.get(token, 'none')} there, and it is to read the "
                "policy's tokens"
            )


def check_vocabulary(path: str, config: PreTrainedConfig, tokens: Iterable[int]) -> None:
    """Refuse tokens of which the model knows nothing.

    A tokenizer may have more tokens than the model, as long as none of them occurs.

    Args:
        path: Of the model and its tokenizer.
        config: Of the model.
        tokens: Those that occur; at least one.

    Raises:
        ModelError: Naming the largest.
    """
    size, largest = config.get_text_config().vocab_size, max(tokens)
    if largest >= size:
        raise ModelError(
            f"the tokenizer of '{path}' makes token {largest}, but the model has {size} tokens: "
            "the two do not belong together"
        )


def check_head(model: PreTrainedModel, *, rounded: bool = False) -> None:
    """Refuse a model whose log-probs cannot be had from the hidden states of its decoder.

    Args:
        model: A model, of any kind.
        rounded: Whether its weights are less precise than float32.

    Raises:
        ModelError: It gives NaN, it sees later tokens, or its logits are made otherwise.
    """
    if model.get_output_embeddings() is None:
        return
    ids = torch.arange(1, 5, device=model.device).unsqueeze(0)
    with torch.no_grad():
        expected = model(input_ids=ids).logits.squeeze(0).float()
        before = model(input_ids=ids[:, :-1]).logits.squeeze(0).float()
        try:
            given = {"attention_mask": torch.ones_like(ids), "use_cache": False}
            hidden = decoder_of(model)(input_ids=ids, **given).last_hidden_state.squeeze(0)
            logits = own_logits(model, hidden).float()
        except (AttributeError, IndexError, TypeError):  # it has no such states, or wants more
            logits = expected.new_empty(0)
    gap = 0.05 if rounded else 1e-3
    name, close = type(model).__name__, partial(torch.allclose, rtol=gap, atol=gap)
    if expected.isnan().any():
        raise ModelError(f"{name} gives NaN as logits: its weights are broken, or overflow")
    if not close(expected[:-1], before):
        raise ModelError(
            f"{name} is not causal: what it says of a token depends on later ones (if it can be a "
            "decoder, its configuration does not say so)"
        )
    if logits.shape != expected.shape or not close(logits, expected):
        raise ModelError(
            f"{name} makes its logits not only of what its decoder says of the tokens; log-probs "
            "of such models are not supported"
        )


@torch.no_grad()
def sharing_of(model: PreTrainedModel, longest: int, runtime: Runtime) -> Sharing | None:
    """What rows with one prompt cost together; None where the model cannot read them so.

    It is tried with rows and lines as long as any will be: what sees a window of the last tokens
    alone sees another one there, and so does what counts places in the line and not positions. What
    reads its tokens one after the other, or is not told their positions, shows at once.

    Args:
        model: A causal language model.
        longest: Tokens of the longest row.
        runtime: How it is run.
    """
    longest = max(2, min(longest, runtime.token_budget // 2))
    batch = _row_and_others(longest, model.config.get_text_config().vocab_size).to(model.device)
    decoder, line = decoder_of(model), torch.zeros_like(batch.group)
    exact = all(weight.dtype == torch.float32 for weight in decoder.parameters())
    dtype = torch.float32 if exact else runtime.dtype
    for by_parts in (True, False):
        pack = partial(packed, batch, line, by_parts=by_parts)
        try:
            with replace(runtime, dtype=dtype).autocast():
                together = pack(precision(model))
                same = _says_the_same(decoder, batch, together, ROUNDING[dtype])
            with runtime.autocast():  # in which a mask may be too large a number for it
                pack(precision(model)).states(decoder)
        except CANNOT:
            continue
        if same:
            tokens = together.inputs["input_ids"].numel()
            return Sharing(*operations(decoder), longest, tokens, by_parts)
    return None


def _says_the_same(decoder: nn.Module, batch: Batch, together: Layout, rounding: float) -> bool:
    """Of the first and the last row, whether they are alone or together with others."""
    ends = torch.tensor([0, len(batch) - 1], device=batch.group.device)
    rows = one_by_one(batch.rows(ends), masked=False)
    alone, shared = rows.states(decoder)[rows.places], together.states(decoder)
    gap = (alone - shared[together.places[ends]]).abs().max()
    return bool(gap < rounding * alone.abs().max())


def _row_and_others(longest: int, vocabulary: int) -> Batch:
    """Completions of one prompt that fill a line as long as `LINE` rows."""
    half = longest // 2
    ids = [i % vocabulary for i in range((LINE + 1) * longest)]
    own = longest - half
    starts = range(half, LINE * longest - own + 1, own)
    return collate([Sample(ids[:half], ids[start : start + own], 0) for start in starts])


def operations(decoder: nn.Module) -> tuple[float, float]:
    """Of a token, and of the attention of one to another, about."""
    embeddings = {id(x.weight) for x in decoder.modules() if isinstance(x, nn.Embedding)}
    products = [x for x in decoder.parameters() if x.dim() > 1 and id(x) not in embeddings]
    config: Any = decoder.config
    text = config.get_text_config()
    layers, width = getattr(text, "num_hidden_layers", 1), getattr(text, "hidden_size", 1)
    return 2.0 * sum(x.numel() for x in products), 4.0 * layers * width


@torch.enable_grad()
def leaves_weights_out(scorer: TokenScorer, device: torch.device) -> bool:
    """Whether a short text gives some trained weight no gradient, as experts it is not sent to."""
    batch = collate([Sample([0, 1], [2, 3], group=0)]).to(device)
    scores = scorer(batch)
    said = scores.logprobs.sum() + (0 if scores.values is None else scores.values.sum())
    trained = [weight for weight in scorer.parameters() if weight.requires_grad]
    return any(x is None for x in torch.autograd.grad(said, trained, allow_unused=True))
