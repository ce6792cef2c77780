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
    hidden = hidden_states(model.get_decoder(), batch, positions)  # type: ignore[operator]
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
    length = int(lengths.max())
    real = torch.arange(length, device=input_ids.device) < lengths.unsqueeze(-1)
    # The model finds the last token by looking for padding, so padding must be what it looks for.
    padding = model.config.get_text_config().pad_token_id  # type: ignore[union-attr, operator]
    filled = torch.where(real, input_ids[:, :length], padding)
    logits: Tensor = model(input_ids=filled, attention_mask=real.long()).logits
    return logits.squeeze(-1).float()


def check_head(model: PreTrainedModel) -> None:
    """Refuse a model whose logits are not simply its head applied to its hidden states.

    Raises:
        ModelError: The model changes its logits after the head, by capping or scaling them.
    """
    if model.get_output_embeddings() is None:
        return
    ids = torch.arange(1, 5, device=model.device).unsqueeze(0)
    with torch.no_grad():
        expected = model(input_ids=ids).logits
        hidden = model.get_decoder()(input_ids=ids).last_hidden_state
        logits = model.get_output_embeddings()(hidden)
    if not torch.allclose(logits.float(), expected.float(), rtol=1e-3, atol=1e-3):
        raise ModelError(
            f"{type(model).__name__} changes its logits after the language-model head (by capping "
            "or scaling); log-probs of such models are not supported yet"
        )


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
            logits = head(hidden.to(head.weight.dtype)).float() / temperature
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
