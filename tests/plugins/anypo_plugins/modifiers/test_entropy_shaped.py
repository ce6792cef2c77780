import pytest
import torch

from anypo import compose


@pytest.mark.parametrize("base", ["grpo", "ppo", "grpo_process"])
def test_undecided_tokens_count_for_more_up_to_a_bound(random_batch, base):
    _, batch = random_batch()
    entropy = torch.rand(batch.mask.shape, generator=torch.Generator().manual_seed(0)).double()
    steps = {"step_rewards": entropy.flip(0), "step_ends": batch.mask.double()}
    batch = batch.replace(old_entropy=entropy, **steps)
    knobs = {"shape_alpha": 0.8, "shape_kappa": 3.0}
    found = compose(base, "entropy_shaped", knobs=knobs).prepare(batch).advantages
    plain = compose(base).prepare(batch).advantages
    bounded = 0
    for i, t in batch.mask.nonzero().tolist():
        a, bonus = plain[i, t].item(), 0.8 * entropy[i, t].item()
        assert found[i, t].item() == pytest.approx(a + min(bonus, abs(a) / 3), abs=1e-12)
        bounded += bonus > abs(a) / 3
    assert 0 < bounded < batch.mask.sum()


def test_requires_the_entropy_before_the_update_alone():
    assert {"old_entropy", "entropy"} & compose("dapo", "entropy_shaped").requires == {
        "old_entropy"
    }
