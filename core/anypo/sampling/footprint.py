"""What sampling takes of the memory, found by passes without values."""

from functools import partial
from typing import NamedTuple

import torch
from transformers import PreTrainedModel

from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import SamplingRequest
from anypo.models.logits import Making
from anypo.models.unreal import Alive, Reserve
from anypo.sampling.continuation import Continuation, can_go_on
from anypo.sampling.draw import asked_for, draw
from anypo.sampling.recall import KEPT


class Sampling(NamedTuple):
    """Bytes beside the weights, at most."""

    rows: int  # completions at a time
    cache: float = 0.0  # keys and values, or whatever the model remembers
    most: float = 0.0  # with logits and all else
    known: float = 0.0  # of conversations that go on


def sampling_of(
    model: PreTrainedModel,
    prompts: int,
    longest: int,
    request: SamplingRequest,
    runtime: Runtime,
    reserve: Reserve,
) -> Sampling:
    """What sampling from an unreal model with its cache takes.

    Args:
        model: The policy.
        prompts: So many, with `request.n` completions each.
        longest: Tokens of the longest prompt.
        request: How they are drawn.
        runtime: Where and how the model runs.
        reserve: Is to take as much.
    """
    step = partial(_a_step, model, request=request, runtime=runtime, reserve=reserve)
    limit = request.max_completion_length
    together = max(1, runtime.token_budget // (request.n * (longest + limit)))
    rows = min(prompts, together) * request.n
    _, first = step(min(prompts, together), longest)
    cache, last = step(rows, longest + limit - 1, known=True)
    known = 0.0
    if request.memory and can_go_on(model):
        room = KEPT * runtime.token_budget / (longest + limit)  # in conversations
        known = cache / rows * min(room, prompts * request.n)
    return Sampling(rows, cache, max(first, last) + known, known)


@torch.no_grad()
def _a_step(
    model: PreTrainedModel,
    rows: int,
    length: int,
    *,
    request: SamplingRequest,
    runtime: Runtime,
    reserve: Reserve,
    known: bool = False,
) -> tuple[float, float]:
    """The cache, and what a token more takes at most, the reading of a text included or `known`."""
    texts, alive = Continuation(model, [[0] * length] * rows, Making()), Alive(model, reserve)
    with alive, runtime.autocast():
        logits = texts.logits()
        cache = alive.now - logits.untyped_storage().nbytes()
        if known:
            alive.most = alive.now
            texts.append(torch.zeros(rows, dtype=torch.long, device=runtime.device))
            logits = texts.logits()
        else:
            groups = torch.arange(rows, device=runtime.device).repeat_interleave(request.n)
            texts.select(groups)
            logits = logits[groups]
        draw(asked_for(logits, request), torch.zeros(len(logits), device=runtime.device))
    return cache, alive.most
