"""Complete texts token by token.

Every row has a random number of its own in every step, whichever other rows have ended by then: a
seed decides all tokens, and rows that leave change nothing of those that stay.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from anypo.hooks.sampler import SamplingRequest
from anypo.sampling.continuation import Continuation
from anypo.sampling.draw import asked_for, draw
from anypo.sampling.recall import Known

LOOK_EVERY = 4  # steps: to see which rows have ended, the host waits for the device
LEAVING = 0.25  # share of the rows that must have ended, since to leave costs a copy of the cache


class Drawn(NamedTuple):
    """Completions and their log-probs; what follows the end of a row means nothing."""

    ids: Int[Tensor, "N T"]
    logprobs: Float[Tensor, "N T"]  # nats, float32, of the distribution drawn from
    known: dict[int, Known]  # by row, if they are to be gone on from: of all tokens but the last


@torch.no_grad()
def decode(texts: Continuation, request: SamplingRequest, *, keeps: bool = False) -> Drawn:
    """Complete every text `request.n` times, those of a text one after the other.

    Args:
        texts: The prompts; they grow.
        request: Its own prompts do not matter.
        keeps: Whether to keep what is known of them.
    """
    logits = texts.logits()
    groups = torch.arange(len(logits), device=logits.device).repeat_interleave(request.n)
    texts.select(groups)
    logits = logits[groups]
    rows = torch.arange(len(groups), device=logits.device)  # that have not left
    ids = groups.new_zeros(len(rows), request.max_completion_length)
    logprobs = torch.zeros_like(ids, dtype=torch.float32)
    known = dict[int, Known]()

    def leave(who: Bool[Tensor, " n"]) -> None:
        if keeps:
            places = who.nonzero().squeeze(-1)
            known.update(zip(rows[places].tolist(), texts.known(places), strict=True))

    for step in range(request.max_completion_length):
        if step:
            logits = texts.logits()
        uniform = torch.rand(len(ids), device=rows.device)[rows]
        tokens, logprobs[rows, step] = draw(asked_for(logits, request), uniform)
        ids[rows, step] = tokens
        texts.append(tokens)
        if step % LOOK_EVERY == LOOK_EVERY - 1:
            ended = have_ended(ids[rows, : step + 1], request)
            if ended.float().mean() >= LEAVING:
                leave(ended)
                going = (~ended).nonzero().squeeze(-1)
                texts.select(going)
                rows = rows[going]
            if not len(rows):
                break
    leave(torch.ones_like(rows, dtype=torch.bool))
    return Drawn(ids, logprobs, known)


def have_ended(ids: Int[Tensor, "n t"], request: SamplingRequest) -> Bool[Tensor, " n"]:
    """Which of some completions so far have their end."""
    if request.stop:
        found = [request.ending(row) is not None for row in ids.tolist()]
        return torch.tensor(found, device=ids.device)
    return torch.isin(ids, ids.new_tensor(request.end_tokens)).any(-1)
