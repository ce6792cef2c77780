"""What is worth watching, whatever the algorithm."""

import torch
from torch import Tensor

from anypo import functional as F
from anypo.hooks.batch import Batch
from anypo.hooks.requirements import LOGPROBS, REQUIRED_FOR, REQUIREMENTS

FROZEN = [x for x in LOGPROBS if REQUIREMENTS[REQUIRED_FOR[x]].said_by == "frozen model"]


def token_metrics(
    logprobs: Tensor, log_ratio: Tensor, gain: Tensor, entropy: Tensor | None, batch: Batch
) -> dict[str, tuple[Tensor, Tensor]]:
    """Sums and counts over the unmasked tokens."""
    metrics: dict[str, Tensor] = {}
    has_old = "old_logprobs" in batch  # elsewhere nothing is clipped
    if has_old and gain.requires_grad and logprobs.requires_grad:
        metrics["clip/fraction"] = _clipped(logprobs, gain, batch)
    was_sampled = "rewards" in batch  # elsewhere the estimates below mean nothing
    if was_sampled and has_old:
        metrics["ratio/mean"] = F.exp_ratio(log_ratio.detach()).expand(batch.mask.shape)
    for name in [name for name in FROZEN if was_sampled and name in batch]:
        theirs = batch.tensors[name]  # not batch[name]: what is only measured is not required
        metrics[f"kl/{name.removesuffix('_logprobs')}"] = F.k3(logprobs.detach(), theirs)
    tokens = batch.mask.sum()
    sums = {name: (F.masked(x, batch.mask).sum(), tokens) for name, x in metrics.items()}
    if entropy is not None:
        known = batch.mask & ~entropy.isnan()  # it may have been measured at a few tokens only
        sums["entropy"] = (F.masked(entropy.detach(), known).sum(), known.sum())
    return sums


def _clipped(logprobs: Tensor, gain: Tensor, batch: Batch) -> Tensor:
    """1 where a token has an advantage but the clip stage lets no gradient through."""
    (gradient,) = torch.autograd.grad(
        gain.sum(), logprobs, retain_graph=True, allow_unused=True, materialize_grads=True
    )
    return ((gradient == 0) & (batch.advantages != 0)).to(gradient.dtype)
