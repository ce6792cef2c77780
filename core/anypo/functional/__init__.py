"""The shared formulas of policy optimisation: pure functions of tensors.

Shapes are those of `anypo.hooks.batch`. Log-probs are in nats. Everything is vectorised, works in
float32 and float64, and never lets a masked position reach a result or a gradient.
"""

from anypo.functional.advantages import split_advantages
from anypo.functional.critics import at_last_token, clipped_value_loss, gae
from anypo.functional.divergence import (
    ESTIMATORS,
    Estimator,
    KLGradient,
    k1,
    k2,
    k3,
    kl,
    kl_penalty,
)
from anypo.functional.groups import (
    EQUAL_REWARDS,
    group_index,
    group_max,
    group_mean,
    group_softmax,
    group_spread,
    group_standardize,
    group_sum,
    group_top_k,
)
from anypo.functional.masking import (
    first_token,
    largest,
    masked,
    masked_mean,
    row_mean,
    to_tokens,
    whiten,
)
from anypo.functional.preference import log_odds, margin, mean_logprob, pair_sum
from anypo.functional.ratios import (
    LOG_RATIO_LIMIT,
    clipped_surrogate,
    exp_ratio,
    sequence_log_ratio,
    token_log_ratio,
)
from anypo.functional.weights import (
    constant_length_mean,
    group_completion_mean,
    group_token_mean,
    per_completion_mean,
    per_completion_sum,
    token_mean,
)
