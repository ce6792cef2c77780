import math

import pytest
import torch

from anypo import AnypoError, compose, hookimpl

MODES = {
    "token": {"tis_cap": 1.4},
    "sequence": {"tis_mode": "sequence", "tis_cap": 1.4},
    "icepop": {"tis_mode": "icepop", "tis_low": 0.8, "tis_high": 1.5},
}


def weights_by_hand(mode, row):
    raw = {t: math.exp(row.old[t] - row.sampler[t]) for t in row.tokens}
    if mode == "token":
        return {t: min(w, 1.4) for t, w in raw.items()}
    if mode == "sequence":
        return dict.fromkeys(raw, min(math.prod(raw.values()), 1.4))
    return {t: w if 0.8 <= w <= 1.5 else 0.0 for t, w in raw.items()}


def by_hand_in(mode):
    def by_hand(rows, new, sg):
        gains = []
        for row in rows:
            weights = weights_by_hand(mode, row)
            for t in row.tokens:
                ratio, a = math.exp(new[row.index][t] - row.old[t]), row.advantage
                clipped = min(max(ratio, 0.8), 1.28)
                gains.append(weights[t] * min(ratio * a, clipped * a))
        return -sum(gains) / len(gains)

    return by_hand


@pytest.mark.parametrize(("name", "mode"), [("tis.token", "token"), ("tis.icepop", "icepop")])
def test_reproduces_the_golden_loss(reproduces, name, mode):
    reproduces(compose("dapo", "tis", knobs={"tis_mode": mode}), name)


class Plain:
    """A gain of 1 a token, so that the weights show."""

    @hookimpl
    def clip(self, log_ratio):
        return log_ratio.exp() / log_ratio.exp().detach()


def test_reproduces_the_golden_sequence_weights(golden, golden_batch):
    wanted = golden("tis.sequence_weight")["expected"]
    logprobs, batch = golden_batch("F1")
    for cap, name in ((2.0, "truncated"), (100.0, "raw")):
        algorithm = compose("dapo", Plain, "tis", knobs={"tis_mode": "sequence", "tis_cap": cap})
        losses = [
            algorithm.loss(logprobs[i : i + 1], algorithm.prepare(batch.rows(torch.tensor([i]))))
            for i in range(len(batch))
        ]
        assert [-loss.total.item() for loss in losses] == pytest.approx(wanted[name], rel=1e-9)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seed", range(2))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, mode, seed):
    algorithm = compose("dapo", "tis", knobs=MODES[mode])
    agrees_by_hand(algorithm, by_hand_in(mode), *random_batch(seed))


def test_only_the_gain_is_corrected_and_not_the_kl_penalty(random_batch):
    logprobs, batch = random_batch()
    plain, corrected = compose("grpo"), compose("grpo", "tis")
    below = plain.loss(logprobs, plain.prepare(batch)).terms
    above = corrected.loss(logprobs, corrected.prepare(batch)).terms
    assert torch.equal(above["kl"], below["kl"])
    assert not torch.isclose(above["policy"], below["policy"], rtol=1e-3)


@pytest.mark.parametrize("mode", MODES)
def test_a_sampler_that_agrees_changes_nothing(random_batch, mode):
    logprobs, batch = random_batch()
    batch = batch.replace(sampler_logprobs=batch.old_logprobs)
    totals = [
        algorithm.loss(logprobs, algorithm.prepare(batch)).total
        for algorithm in (compose("dapo"), compose("dapo", "tis", knobs=MODES[mode]))
    ]
    assert torch.equal(*totals)


@pytest.mark.parametrize("mode", MODES)
def test_a_sampler_that_is_far_off_overflows_nothing(random_batch, loss_and_gradient, mode):
    logprobs, batch = random_batch()
    algorithm = compose("dapo", "tis", knobs=MODES[mode])
    for far in (-1e4, 1e4):
        prepared = algorithm.prepare(batch.replace(sampler_logprobs=batch.old_logprobs + far))
        loss, gradient = loss_and_gradient(algorithm, logprobs, prepared)
        assert loss.total.isfinite()
        assert gradient.isfinite().all()


def test_requires_what_the_sampler_reports():
    assert compose("dapo", "tis").requires == {"old_logprobs", "sampler_logprobs"}
    assert compose("dapo", "tis").prepare_requires == set()


@pytest.mark.parametrize(
    "knobs",
    [
        {"tis_low": 0.3},
        {"tis_mode": "sequence", "tis_high": 3.0},
        {"tis_mode": "icepop", "tis_cap": 3},
    ],
    ids=lambda knobs: "+".join(knobs),
)
def test_a_knob_of_another_mode_is_refused(knobs):
    with pytest.raises(AnypoError, match=f"'{list(knobs)[-1]}' is set, but no active stage"):
        compose("dapo", "tis", knobs=knobs)


def test_corrects_a_sequence_ratio_too(random_batch, loss_and_gradient):
    logprobs, batch = random_batch()
    algorithm = compose(
        "gspo", "tis", knobs={**MODES["sequence"], "clip_low": 0.1, "clip_high": 0.1}
    )
    plain = compose("gspo", knobs={"clip_low": 0.1, "clip_high": 0.1})
    _, gradient = loss_and_gradient(algorithm, logprobs, algorithm.prepare(batch))
    _, below = loss_and_gradient(plain, logprobs, plain.prepare(batch))
    total = (batch.old_logprobs - batch.sampler_logprobs).sum(-1, keepdim=True)
    torch.testing.assert_close(gradient, total.exp().clamp(max=1.4) * below)
