import math
import statistics

import pytest
import torch

from anypo import compose


def covariances(rows, logprobs):
    """By row and token, of the log-probs that are given."""
    places = [(row, t) for row in rows for t in row.tokens]
    mean_a = statistics.mean(row.advantage for row, _ in places)
    mean_l = statistics.mean(logprobs[row.index][t] for row, t in places)
    return {
        (row.index, t): (row.advantage - mean_a) * (logprobs[row.index][t] - mean_l)
        for row, t in places
    }


def kl_cov_by_hand(rows, new, sg):
    cov = covariances(rows, sg)
    held = sorted(cov, key=cov.get)[-int(0.2 * len(cov)) :]
    loss = 0.0
    for row in rows:
        for t in row.tokens:
            log_ratio = new[row.index][t] - row.old[t]
            penalty = 0.7 * abs(log_ratio) if (row.index, t) in held else 0.0
            loss += penalty - math.exp(log_ratio) * row.advantage
    return loss / len(cov)


def test_kl_cov_of_the_rollouts_log_probs_reproduces_the_loss_of_the_paper(reproduces_paper):
    algorithm = compose("kl_cov", knobs={"cov_ratio": 0.15})
    reproduces_paper(algorithm, "kl_cov", now={"logprobs": "old_logprobs"})


@pytest.mark.parametrize("seed", range(3))
def test_kl_cov_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    logprobs, batch = random_batch(seed)
    algorithm = compose("kl_cov", knobs={"cov_ratio": 0.2, "cov_coef": 0.7})
    agrees_by_hand(algorithm, kl_cov_by_hand, logprobs, batch, now={"logprobs": logprobs})


def clip_cov_by_hand(rows, new, sg):
    cov, gains = covariances(rows, sg), []
    assert 0 < sum(0.1 < c < 2.0 for c in cov.values()) < len(cov)
    for row in rows:
        for t in row.tokens:
            ratio = math.exp(new[row.index][t] - row.old[t])
            gain = min(ratio * row.advantage, min(max(ratio, 0.8), 1.2) * row.advantage)
            gains.append(0.0 if 0.1 < cov[row.index, t] < 2.0 else gain)
    return -statistics.mean(gains)


@pytest.mark.parametrize("seed", range(3))
def test_clip_cov_of_all_that_covary_agrees_with_the_equation_worked_by_hand(
    random_batch, agrees_by_hand, seed
):
    logprobs, batch = random_batch(seed)
    knobs = {"cov_low": 0.1, "cov_high": 2.0, "cov_ratio": 1.0}  # of every token, so none is drawn
    algorithm = compose("clip_cov", knobs=knobs)
    agrees_by_hand(algorithm, clip_cov_by_hand, logprobs, batch, now={"logprobs": logprobs})


def clip_cov(**knobs):
    return compose("clip_cov", knobs={"cov_low": 0.1, "cov_high": 2.0, **knobs})


def stopped(algorithm, logprobs, batch, state=None):
    weights = algorithm.prepare(batch, state, logprobs=logprobs).weights["policy"]
    return batch.mask & (weights == 0)


def candidates(batch, logprobs):
    advantages, mask = compose("grpo").prepare(batch).advantages, batch.mask
    centred = [x - x[mask].mean() for x in (advantages, logprobs)]
    cov = centred[0] * centred[1]
    return mask & (cov > 0.1) & (cov < 2.0)


@pytest.mark.parametrize("seed", range(3))
def test_clip_cov_stops_a_share_of_those_tokens_that_covary(random_batch, seed):
    logprobs, batch = random_batch(seed)
    few = stopped(clip_cov(cov_ratio=0.1), logprobs, batch)
    assert int(few.sum()) == int(0.1 * int(batch.mask.sum()))
    assert candidates(batch, logprobs)[few].all()


def test_clip_cov_stops_one_token_if_its_share_is_less(random_batch):
    logprobs, batch = random_batch()
    assert stopped(clip_cov(), logprobs, batch).sum() == 1


def test_clip_cov_draws_anew_each_time_and_again_the_same_from_a_saved_state(random_batch):
    logprobs, batch = random_batch()
    algorithm, state = clip_cov(cov_ratio=0.1), {}
    drawn = [stopped(algorithm, logprobs, batch, state) for _ in range(4)]
    assert any(not torch.equal(drawn[0], other) for other in drawn[1:])
    assert torch.equal(drawn[-1], stopped(algorithm, logprobs, batch, {"clip_cov": 3}))
