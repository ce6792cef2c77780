import pytest
import torch

from anypo import Batch, compose
from anypo import functional as F

PRECISIONS = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)], ids=["f64", "f32"]
)
VARIANTS = {
    "grpo.full": {},
    "grpo.no_kl_seqmean": {"kl_coef": 0.0},
    "grpo.is_corrected_kl": {"kl_gradient": "ratio"},
    "grpo.score_function_kl": {"kl_gradient": "score"},
}


def f1_batch(f1, dtype, mask=None, **changes):
    tensors = {
        "rewards": torch.tensor(f1["rewards"], dtype=dtype),
        "group": torch.tensor(f1["group"]),
        "old_logprobs": torch.tensor(f1["logp_old"], dtype=dtype),
        "ref_logprobs": torch.tensor(f1["logp_ref"], dtype=dtype),
    }
    mask = torch.tensor(f1["mask"]).bool() if mask is None else mask
    return Batch(mask=mask, **{**tensors, **changes})


def loss_and_gradient(algorithm, logprobs, batch):
    logprobs = logprobs.clone().requires_grad_()
    loss = algorithm.loss(logprobs, algorithm.prepare(batch))
    loss.total.backward()
    return loss, logprobs.grad


@PRECISIONS
@pytest.mark.parametrize("name", VARIANTS)
def test_reproduces_the_golden_numbers(golden, fixtures, name, dtype, tolerance):
    expected, f1 = golden(name)["expected"], fixtures["F1"]
    algorithm = compose("grpo", knobs=VARIANTS[name])
    logprobs = torch.tensor(f1["logp_new"], dtype=dtype)
    loss, gradient = loss_and_gradient(algorithm, logprobs, f1_batch(f1, dtype))
    close = {"rtol": tolerance, "atol": tolerance}
    assert loss.total.item() == pytest.approx(expected["loss"], rel=tolerance)
    assert loss.terms["policy"].item() == pytest.approx(expected["policy_loss"], rel=tolerance)
    wanted = torch.tensor(expected["grad_logp_new"], dtype=dtype)
    torch.testing.assert_close(gradient, wanted, **close)
    if "kl" in loss.terms:
        assert loss.terms["kl"].item() == pytest.approx(0.04 * expected["kl"], rel=tolerance)


def test_padding_may_hold_anything(golden, fixtures):
    f1, inputs = fixtures["F1"], golden("edge.garbage_padding")["inputs"]
    expected = golden("grpo.no_kl_seqmean")["expected"]
    logprobs = torch.tensor(f1["logp_new"], dtype=torch.float64)
    old = torch.tensor(f1["logp_old"], dtype=torch.float64)
    logprobs[1, 2:], old[1, 2:] = inputs["logp_new_row1_pad"], inputs["logp_old_row1_pad"]
    logprobs[2, 3], old[2, 3] = torch.nan, -torch.inf
    batch = f1_batch(f1, torch.float64, old_logprobs=old)
    loss, gradient = loss_and_gradient(compose("grpo", knobs={"kl_coef": 0.0}), logprobs, batch)
    assert loss.total.item() == pytest.approx(expected["loss"], rel=1e-9)
    wanted = torch.tensor(expected["grad_logp_new"], dtype=torch.float64)
    torch.testing.assert_close(gradient, wanted, rtol=1e-9, atol=1e-9)


def test_a_batch_without_any_token_has_a_zero_loss_and_gradient(golden):
    case = golden("edge.all_masked_batch")
    mask = torch.tensor(case["inputs"]["mask"]).bool()
    blank = torch.zeros(mask.shape)
    batch = Batch(
        mask=mask,
        rewards=torch.tensor([1.0, 0.0]),
        group=torch.tensor([0, 0]),
        old_logprobs=blank,
        ref_logprobs=blank,
    )
    loss, gradient = loss_and_gradient(compose("grpo"), blank, batch)
    assert loss.total.item() == case["expected"]["loss"]
    assert (gradient == 0).all()


def test_a_truncated_row_may_leave_the_mask_but_stays_in_the_statistics(golden, fixtures):
    case, f1 = golden("edge.truncated_masking"), fixtures["F1"]
    mask = torch.tensor(f1["mask"]).bool()
    mask &= ~torch.tensor(case["inputs"]["truncated"]).bool().unsqueeze(-1)
    batch = f1_batch(f1, torch.float64, mask)
    assert int(mask.sum()) == case["expected"]["loss_mask_tokens"]
    algorithm = compose("grpo", knobs={"kl_coef": 0.0, "clip_high": 0.28})
    prepared = algorithm.prepare(batch).replace(weights={"policy": F.token_mean(mask)})
    logprobs = torch.tensor(f1["logp_new"], dtype=torch.float64)
    total = algorithm.loss(logprobs, prepared).total
    assert total.item() == pytest.approx(case["expected"]["loss"], rel=1e-9)


def test_at_ratio_one_the_gradient_is_the_policy_gradient(fixtures):
    f1 = fixtures["F1"]
    old = torch.tensor(f1["logp_old"], dtype=torch.float64)
    batch = f1_batch(f1, torch.float64)
    algorithm = compose("grpo", knobs={"kl_coef": 0.0})
    _, gradient = loss_and_gradient(algorithm, old, batch)
    advantages = F.group_standardize(batch.rewards, batch.group).unsqueeze(-1)
    torch.testing.assert_close(gradient, -advantages * F.per_completion_mean(batch.mask))


def test_needs_a_reference_only_for_the_kl_penalty():
    assert "reference" in compose("grpo").requires
    assert "reference" not in compose("grpo", knobs={"kl_coef": 0}).requires


def test_the_ratio_gradient_of_the_kl_needs_no_old_logprobs_before_the_loss():
    assert compose("grpo", knobs={"kl_gradient": "ratio"}).prepare_requires == set()


def test_right_after_the_reference_was_refreshed_the_kl_is_zero_and_flat(golden, fixtures):
    expected, f1 = golden("grpo_iterative.reset")["expected"], fixtures["F1"]
    logprobs = torch.tensor(f1["logp_new"], dtype=torch.float64)
    algorithm = compose("grpo", knobs={"kl_coef": 1.0})
    batch = f1_batch(f1, torch.float64, ref_logprobs=logprobs)
    loss, gradient = loss_and_gradient(algorithm, logprobs, batch)
    without, plain = loss_and_gradient(compose("grpo", knobs={"kl_coef": 0.0}), logprobs, batch)
    assert loss.terms["kl"].item() == expected["kl"] == 0
    torch.testing.assert_close(gradient - plain, torch.zeros_like(plain))
    assert loss.total.item() == pytest.approx(without.total.item())
