"""Log-probs and entropies of completion tokens under a model, or its score of a text.

The logits of a whole batch, [N, T, V], never exist: see `head`. And where it pays, a prompt is
computed once for all of its completions: see `sharing`.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple, TypeVar, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, set_checkpoint_early_stop
from transformers import PreTrainedModel

from anypo.functional import at_last_token
from anypo.hooks.batch import Batch
from anypo.models.critic import Critic
from anypo.models.head import KEPT, Head, Scores
from anypo.models.layout import Layout, one_by_one, precision
from anypo.models.logits import Making, decoder_of, logits_of, making_of, own_logits
from anypo.models.rope import stretching
from anypo.models.router import recorded_balance
from anypo.models.sharing import packed

T = TypeVar("T")

LARGE = 2**14  # tokens of a vocabulary, above which entropies cost more than they tell:
EVERY = 16  # then that of one token of so many is measured


Statistics = Callable[[Tensor, Tensor | None], dict[str, Tensor]]  # of log-distributions


class TokenScores(NamedTuple):
    """What a model says of the sampled tokens; zeros where the mask is False."""

    logprobs: Float[Tensor, "N T"]  # nats, float32, at the sampling temperature
    entropy: Float[Tensor, "N T"] | None  # nats, of the whole distribution; NaN: not measured
    values: Float[Tensor, "N T"] | None  # the critic's, where there is one
    balance: Float[Tensor, ""] | None = None  # the load-balancing loss of experts, if asked for
    statistics: Mapping[str, Float[Tensor, "N T"]] = {}  # those that are asked for


class Said(NamedTuple):
    """What a model says before each of some tokens, of all that might follow."""

    states: Float[Tensor, "M H"]
    weight: Float[Tensor, "V H"]
    bias: Float[Tensor, " V"] | None
    making: Making

    def logits(self, some: slice) -> Float[Tensor, "m V"]:
        """Before some of the tokens."""
        with torch.autocast(self.states.device.type, enabled=False):
            products = nn.functional.linear(self.states[some], self.weight, self.bias)
        return self.making.logits(products.float())


class TokenScorer(nn.Module):
    """What a run trains, as one module whose forward pass scores the tokens of a batch.

    Args:
        model: A model of transformers. One with a scalar head has a score in place of log-probs, at
            the last unmasked token.
        critic: What says the values.
        temperature: The one the tokens were sampled at.
        learns_entropy: Whether gradient shall flow through the entropy too. Else it is a figure to
            watch, and measured at a few tokens only where the vocabulary is large.
        whole_entropy: Whether the entropy is wanted at every token.
        statistics: What of whole distributions is wanted, the model's own and the teacher's, of
            some tokens at a time.
        making: How the model makes its logits, where that is known; else it is looked at.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        critic: Critic | None = None,
        *,
        temperature: float = 1.0,
        learns_entropy: bool = False,
        whole_entropy: bool = False,
        statistics: Statistics | None = None,
        making: Making | None = None,
    ) -> None:
        super().__init__()
        self.model, self.critic = model, critic
        self.temperature, self.learns_entropy = temperature, learns_entropy
        self.whole_entropy, self.statistics = whole_entropy or learns_entropy, statistics
        self.making = making
        if making is None and model.device.type != "meta":
            self.find_making()

    def asked(self, question: Callable[[PreTrainedModel], T]) -> T:
        """What a question says of the model, which it may run even where weights are sharded."""
        return question(self.model)

    def find_making(self) -> None:
        """See how the model makes its logits, once it has weights."""
        if self.model.get_output_embeddings() is not None:
            self.making = self.asked(partial(making_of, temperature=self.temperature))

    def forward(
        self,
        batch: Batch,
        line: Int[Tensor, " N"] | None = None,
        *,
        by_parts: bool = False,
        balanced: bool = False,
        measured: bool = False,
        teacher: Said | None = None,
        saying: bool = False,
        copied: bool = False,
    ) -> TokenScores | Said:
        """Log-prob and entropy of every unmasked completion token, and its value.

        Args:
            batch: With `input_ids`, `prompt_lengths` and `sequence_lengths`.
            line: Which rows are packed together, if any are; see `sharing.packed`.
            by_parts: Whether those attend apart; see `sharing.packed`.
            balanced: Whether to say how unequally the experts of a mixture are used; not of packed
                rows, whose tokens are fewer.
            measured: Whether statistics of the distributions are wanted.
            teacher: What the teacher says before the same tokens.
            saying: Whether what the model says of all tokens is wanted, and nothing else.
            copied: Whether that is to outlive this call where weights are gathered for it alone.
        """
        if line is None:
            layout = partial(one_by_one, batch, masked=balanced)
        else:
            layout = partial(packed, batch, line, precision(self.model), by_parts=by_parts)
        if saying:
            return self._said(batch, layout, copied=copied)
        measure = partial(self._measure, teacher) if measured else None
        if not balanced:
            return self._scored(batch, layout, measure)
        with recorded_balance(self.model) as balance:
            scores = self._scored(batch, layout, measure)
        return scores._replace(balance=balance[0])

    def _said(self, batch: Batch, layout: Callable[[], Layout], *, copied: bool) -> Said:
        head = self.model.get_output_embeddings()
        assert self.making is not None, "refused where it is loaded"
        *_, states = self._states(batch, layout)
        weight, bias = head.weight.detach(), getattr(head, "bias", None)
        if copied:
            weight, bias = weight.clone(), None if bias is None else bias.detach().clone()
        return Said(states.to(weight.dtype), weight, bias, self.making)

    def _states(
        self, batch: Batch, layout: Callable[[], Layout]
    ) -> tuple[Layout, tuple[Tensor, Tensor], Tensor, Tensor]:
        """The lines; the places of unmasked tokens; those of what stands before, and its states."""
        rows, columns = batch.mask.nonzero(as_tuple=True)
        lines = layout()
        before = lines.places[rows, columns + batch.prompt_lengths[rows] - 1]
        return lines, (rows, columns), before, lines.states(decoder_of(self.model))[before]

    def _measure(
        self, teacher: Said | None, states: Float[Tensor, "M H"]
    ) -> dict[str, Float[Tensor, " M"]]:
        """The statistics, for as many tokens at a time as fit the memory."""
        assert self.statistics is not None, "asked only where there are some"
        of_both = self.statistics

        def measure(states: Tensor, some: slice) -> dict[str, Tensor]:
            own = logits_of(self.model, states, self.making).float()
            if self.making is None:
                own = own / self.temperature
            if teacher is None:
                return of_both(own.log_softmax(-1), None)
            theirs = teacher.logits(some)
            width = min(own.shape[-1], theirs.shape[-1])  # one may be padded further, by no tokens
            return of_both(*(x[:, :width].log_softmax(-1) for x in (own, theirs)))

        size = max(1, KEPT // self.model.get_output_embeddings().weight.shape[0])
        slices = [slice(at, at + size) for at in range(0, max(1, len(states)), size)]
        with set_checkpoint_early_stop(False):  # it would raise through what is a plugin's
            parts = [checkpoint(measure, states[s], s, use_reentrant=False) for s in slices]
        return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def _scored(
        self,
        batch: Batch,
        layout: Callable[[], Layout],
        measure: Callable[[Tensor], dict[str, Tensor]] | None,
    ) -> TokenScores:
        if self.model.get_output_embeddings() is None:
            scores = text_scores(self.model, batch.input_ids, batch.sequence_lengths)
            return TokenScores(at_last_token(scores, batch.mask), None, None)
        lines, (rows, columns), before, states = self._states(batch, layout)
        spread = partial(_spread, batch.mask.shape, (rows, columns))
        columns = columns + batch.prompt_lengths[rows]
        logprobs, entropy = self._apply_head(states, batch.input_ids[rows, columns], columns)
        values = None if self.critic is None else spread(self.critic(lines, before, states))
        said = measure(states) if measure else {}
        statistics = {name: spread(x) for name, x in said.items()}
        return TokenScores(spread(logprobs), spread(entropy), values, statistics=statistics)

    def _apply_head(
        self, states: Float[Tensor, "M H"], tokens: Int[Tensor, " M"], columns: Int[Tensor, " M"]
    ) -> Scores:
        vocabulary = self.model.get_output_embeddings().weight.shape[0]
        everywhere = self.whole_entropy or vocabulary <= LARGE
        logprobs, entropy = self._scores(states, tokens, everywhere)
        if not everywhere:
            entropy = torch.full_like(entropy, torch.nan)
            (some,) = (columns % EVERY == 0).nonzero(as_tuple=True)
            with torch.no_grad():
                entropy[some] = self._scores(states[some], tokens[some], True)[1]
        return logprobs, entropy if self.learns_entropy else entropy.detach()

    def _scores(self, states: Tensor, tokens: Tensor, with_entropy: bool) -> Scores:
        head = self.model.get_output_embeddings()
        # bfloat16 logits are off by 5e-3 nats, more than the clip range of a sequence ratio.
        with torch.autocast(states.device.type, enabled=False):
            states = states.to(head.weight.dtype)
            if self.making is None:
                return _scores_by_the_model(self.model, states, tokens, self.temperature)
            weights = head.weight, getattr(head, "bias", None)
            given = states, *weights, tokens, self.making, with_entropy
            scores: Scores = Head.apply(*given)  # type: ignore[no-untyped-call]
            return scores


def score_tokens(
    model: nn.Module,
    batch: Batch,
    *,
    temperature: float,
    with_entropy_gradient: bool = False,
    critic: nn.Module | None = None,
) -> TokenScores:
    """What a model says of the tokens of a batch; see `TokenScorer`."""
    parts = cast(PreTrainedModel, model), cast(Critic | None, critic)
    scorer = TokenScorer(*parts, temperature=temperature, learns_entropy=with_entropy_gradient)
    scores: TokenScores = scorer(batch)
    return scores


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


def _spread(
    shape: torch.Size, places: tuple[Tensor, Tensor], x: Float[Tensor, " M"]
) -> Float[Tensor, "N T"]:
    """Zeros of a shape, but for the values at some places."""
    return x.new_zeros(shape, dtype=torch.float32).index_put(places, x.float())


def _scores_by_the_model(
    model: nn.Module, states: Float[Tensor, "M H"], tokens: Int[Tensor, " M"], temperature: float
) -> Scores:
    """What `Head` says, where logits are made in a way that it does not know."""

    def scores(states: Tensor, tokens: Tensor) -> Scores:
        logits = own_logits(model, states).float() / temperature
        normalizer = logits.logsumexp(-1)
        logprobs = logits.gather(-1, tokens.unsqueeze(-1)).squeeze(-1) - normalizer
        return logprobs, normalizer - (torch.softmax(logits, -1) * logits).sum(-1)

    size = max(1, KEPT // model.get_output_embeddings().weight.shape[0])  # type: ignore[operator]
    chunks = zip(states.split(size), tokens.split(size), strict=True)
    parts = [checkpoint(scores, *chunk, use_reentrant=False) for chunk in chunks]
    logprobs, entropy = (torch.cat(part) for part in zip(*parts, strict=True))
    return logprobs, entropy
