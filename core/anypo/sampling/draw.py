"""Draw tokens from the distribution that a request asks for.

A token is where the cumulative distribution passes a random number, so that one number is used up
per token, and not one per token of the vocabulary. Logits are overwritten: with a large vocabulary,
copies of them would take longer than what is done to them.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from anypo.hooks.sampler import SamplingRequest


def draw(
    logits: Float[Tensor, "N V"], uniform: Float[Tensor, " N"]
) -> tuple[Int[Tensor, " N"], Float[Tensor, " N"]]:
    """A token of each row, never one of probability 0, and its log-prob in nats.

    Args:
        logits: float32; overwritten.
        uniform: Numbers from 0 to 1.
    """
    logits -= logits.amax(-1, keepdim=True)
    cumulative = logits.exp().cumsum_(-1)
    total = cumulative[:, -1:]
    below = total.nextafter(torch.zeros_like(total))  # of the total there is no token: it is beyond
    place = (uniform.unsqueeze(-1) * total).minimum(below)
    tokens = torch.searchsorted(cumulative, place, right=True)
    return tokens.squeeze(-1), (logits.gather(-1, tokens) - total.log()).squeeze(-1)


def asked_for(logits: Float[Tensor, "N V"], request: SamplingRequest) -> Float[Tensor, "N V"]:
    """Logits at the temperature of a request, -inf for tokens that it leaves out.

    Those given are overwritten.
    """
    logits = logits.float().div_(request.temperature)
    if 0 < request.top_k < logits.shape[-1]:
        likeliest, place = logits.topk(request.top_k)  # no more, even if some are as likely
        logits.fill_(-torch.inf).scatter_(-1, place, likeliest)
    if request.top_p < 1:
        likeliest, order = logits.softmax(-1).sort(-1, descending=True)
        others = likeliest.cumsum(-1) - likeliest >= request.top_p
        logits.masked_fill_(others.scatter(-1, order, others), -torch.inf)
    return logits
