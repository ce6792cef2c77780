"""The KL divergence of distributions, and estimates of it from sampled tokens."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

from anypo.functional.ratios import LOG_RATIO_LIMIT, exp_ratio

Estimator = Literal["k1", "k2", "k3"]
KLGradient = Literal["naive", "ratio", "score", "k2"]


def kl(p: Float[Tensor, "m V"], q: Float[Tensor, "m V"]) -> Float[Tensor, " m"]:
    """KL(p || q) = sum_v p (log p - log q), of two log-distributions over the vocabulary."""
    return (p.exp() * (p - q)).sum(-1)


def k1(logprobs: Float[Tensor, "N T"], ref: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """d = log pi - log pi_ref. Unbiased, but its gradient is 0 on average."""
    return logprobs - ref


def k2(logprobs: Float[Tensor, "N T"], ref: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """d^2 / 2. Biased, but its gradient is that of the reverse KL(pi || ref)."""
    return (logprobs - ref).square() / 2


def k3(logprobs: Float[Tensor, "N T"], ref: Float[Tensor, "N T"]) -> Float[Tensor, "N T"]:
    """exp(-d) + d - 1. Unbiased and never negative; its gradient is that of KL(ref || pi)."""
    log_ratio = (ref - logprobs).clamp(-LOG_RATIO_LIMIT, LOG_RATIO_LIMIT)
    return log_ratio.exp() - log_ratio - 1


ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}


def kl_penalty(
    logprobs: Float[Tensor, "N T"],
    ref_logprobs: Float[Tensor, "N T"],
    old_logprobs: Float[Tensor, "N T"],
    *,
    estimator: Estimator = "k3",
    gradient: KLGradient = "naive",
) -> Float[Tensor, "N T"]:
    """An estimate per token of KL(pi || pi_ref), from tokens that pi_old sampled.

    Args:
        estimator: See `k1`, `k2`, `k3`.
        gradient: `naive` differentiates the estimator as it stands. `ratio` weighs it by
            pi / pi_old and `score` by pi / stop_gradient(pi): both give the reverse KL's gradient.
            `k2` keeps the estimator's value and takes the gradient of k2.

    Source: Schulman, "Approximating KL Divergence", 2020; the `ratio` form: DeepSeek-V3.2,
    arXiv:2512.02556.
    """
    value = ESTIMATORS[estimator](logprobs, ref_logprobs)
    if gradient == "ratio":
        return exp_ratio(logprobs - old_logprobs) * value
    if gradient == "score":
        return exp_ratio(logprobs - logprobs.detach()) * value
    if gradient == "k2":
        straight_through = k2(logprobs, ref_logprobs)
        return value.detach() + straight_through - straight_through.detach()
    return value
