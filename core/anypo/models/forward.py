"""Log-probs and entropies of completion tokens under a model, or its score of a text.

The logits of a whole batch, [N, T, V], never exist: the language-model head is applied to the
unmasked tokens a chunk at a time, and applied again in the backward pass.
"""

from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from anypo.errors import ModelError
from anypo.functional import at_last_token
from anypo.hooks.batch import Batch
from anypo.models.rope import stretching

CHUNK = 2**24  # logits at a time: 64 MiB in float32


class TokenScores(NamedTuple):
    """What a model says of the sampled tokens; zeros where the mask is False."""

    logprobs: Float[Tensor, "N T"]  # nats, float32, at the sampling temperature
    entropy: Float[Tensor, "N T"] | None  # nats, of the whole distribution at each token
    values: Float[Tensor, "N T"] | None  # the critic's, where there is one


class TokenPositions(NamedTuple):
    """Where the M unmasked completion tokens of a batch are."""

    rows: Int[Tensor, " M"]
    columns: Int[Tensor, " M"]  # in the prompt and completion


def score_tokens(
    model: nn.Module,
    batch: Batch,
    *,
    temperature: float,
    with_entropy_gradient: bool = False,
    critic: nn.Module | None = None,
) -> TokenScores:
    """Log-prob and entropy of every unmasked completion token, and its value.

    A model with a scalar head has a score in place of log-probs, at the last unmasked token.

    Args:
        model: A model of transformers, wrapped by accelerate or not.
        batch: With `input_ids`, `prompt_lengths` and `sequence_lengths`.
        temperature: The one the tokens were sampled at.
        with_entropy_gradient: Whether gradient shall flow through the entropy too.
        critic: An `anypo.models.critic.Critic`.
    """
    if model.get_output_embeddings() is None:  # type: ignore[operator]
        scores = text_scores(model, batch.input_ids, batch.sequence_lengths)
        return TokenScores(at_last_token(scores, batch.mask), None, None)
    rows, columns = batch.mask.nonzero(as_tuple=True)
    positions = TokenPositions(rows, batch.prompt_lengths[rows] + columns)
    hidden = hidden_states(decoder_of(model), batch, positions)
    targets = batch.input_ids[positions]
    logprobs, entropy = _apply_head(model, hidden, targets, temperature, with_entropy_gradient)
    zeros = hidden.new_zeros(batch.mask.shape, dtype=torch.float32)
    spread = partial(zeros.index_put, (rows, columns))
    values = None if critic is None else spread(critic(batch, positions, hidden))
    return TokenScores(spread(logprobs), spread(entropy), values)


def hidden_states(
    decoder: nn.Module, batch: Batch, positions: TokenPositions
) -> Float[Tensor, "M H"]:
    """The decoder's last hidden states from which the tokens at `positions` are predicted."""
    length = int(batch.sequence_lengths.max())
    input_ids = batch.input_ids[:, :length]
    real = torch.arange(length, device=input_ids.device) < batch.sequence_lengths.unsqueeze(-1)
    states: Tensor = decoder(
        input_ids=input_ids, attention_mask=real.long(), use_cache=False
    ).last_hidden_state
    return states[positions.rows, positions.columns - 1]


def text_scores(
    model: nn.Module, input_ids: Int[Tensor, "N L"], lengths: Int[Tensor, " N"]
) -> Float[Tensor, " N"]:
    """The score of each row, by the model's own reading of its last token.

    Args:
        model: A sequence classifier of transformers with one label.
        input_ids: Padded on the right, with anything.
        lengths: Of the rows, without padding.
    """
    if len(lengths) > 1 and stretching(model):  # each as long as it is for whoever reads it alone
        rows = zip(input_ids.split(1), lengths.split(1), strict=True)
        return torch.cat([text_scores(model, *row) for row in rows])
    length = int(lengths.max())
    real = torch.arange(length, device=input_ids.device) < lengths.unsqueeze(-1)
    # The model finds the last token by looking for padding, so padding must be what it looks for.
    padding = model.config.get_text_config().pad_token_id  # type: ignore[union-attr, operator]
    filled = torch.where(real, input_ids[:, :length], padding)
    logits: Tensor = model(input_ids=filled, attention_mask=real.long()).logits
    return logits.squeeze(-1).float()


def decoder_of(model: nn.Module) -> nn.Module:
    """What makes hidden states of tokens: a causal language model without its head."""
    decoder: nn.Module = model.get_decoder()  # type: ignore[operator]
    if decoder not in (model, model.get_output_embeddings()):  # type: ignore[operator]
        return decoder
    # transformers goes by names, and finds the whole of Llama 4, or the head of ModernBERT.
    bodies = [child for child in model.children() if isinstance(child, PreTrainedModel)]
    body: nn.Module = bodies[0] if bodies else model.base_model  # type: ignore[assignment]
    return body


def check_head(model: PreTrainedModel, *, rounded: bool = False) -> None:
    """Refuse a model whose log-probs cannot be had from the hidden states of its decoder.

    Args:
        model: A causal language model.
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
            logits = _logits(model, hidden).float()
        except (AttributeError, IndexError, TypeError):  # it has no such states, or wants more
            logits = expected.new_empty(0)
    gap = 0.05 if rounded else 1e-3
    name, close = type(model).__name__, partial(torch.allclose, rtol=gap, atol=gap)
    if expected.isnan().any():
        raise ModelError(f"{name} gives NaN as logits: its weights are broken, or not all loaded")
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


class _Given:
    """What a decoder returns that says nothing but hidden states."""

    def __init__(self, last_hidden_state: Tensor) -> None:
        self.last_hidden_state = last_hidden_state

    def __getitem__(self, index: int) -> Tensor:
        return (self.last_hidden_state,)[index]

    def __getattr__(self, name: str) -> None:
        return None


def _logits(model: nn.Module, hidden: Float[Tensor, "M H"]) -> Float[Tensor, "M V"]:
    """What the model itself makes of hidden states: its head, and how it caps or scales logits."""
    decoder, given = decoder_of(model), _Given(hidden.unsqueeze(1))
    ids = torch.ones(len(hidden), 1, dtype=torch.long, device=hidden.device)
    own = vars(decoder).get("forward")
    decoder.forward = lambda *_, **__: given
    try:  # the class's forward: an instance's may bring autocast back
        logits: Tensor = type(model).forward(model, input_ids=ids).logits
    finally:
        del decoder.forward
        if own is not None:
            decoder.forward = own
    return logits.squeeze(1)


def _apply_head(
    model: nn.Module,
    hidden: Float[Tensor, "M H"],
    targets: Int[Tensor, " M"],
    temperature: float,
    with_entropy_gradient: bool,
) -> tuple[Float[Tensor, " M"], Float[Tensor, " M"]]:
    head = model.get_output_embeddings()  # type: ignore[operator]

    def scores(hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        with torch.autocast(hidden.device.type, enabled=False):
            # bfloat16 logits are off by 5e-3 nats, more than the clip range of a sequence ratio.
            logits = _logits(model, hidden.to(head.weight.dtype)).float() / temperature
        normalizer = logits.logsumexp(-1)
        logprobs = logits.gather(-1, targets.unsqueeze(-1)).squeeze(-1) - normalizer
        with torch.set_grad_enabled(torch.is_grad_enabled() and with_entropy_gradient):
            entropy = normalizer - (torch.softmax(logits, -1) * logits).sum(-1)
        return logprobs, entropy

    size = max(1, CHUNK // head.weight.shape[0])
    pairs = list(zip(hidden.split(size), targets.split(size), strict=True))
    again = len(pairs) > 1 and torch.is_grad_enabled()  # recompute logits in the backward pass
    chunks = [checkpoint(scores, *p, use_reentrant=False) if again else scores(*p) for p in pairs]
    logprobs, entropy = (torch.cat(part) for part in zip(*chunks, strict=True))
    return logprobs, entropy if with_entropy_gradient else entropy.detach()
