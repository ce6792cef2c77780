import pytest
import torch

from anypo import compose


@pytest.mark.parametrize("name", ["grpo", "gspo", "ppo", "hybrid_grpo"])
def test_the_sampler_stands_for_the_old_policy_whatever_the_ratio(random_batch, name):
    logprobs, batch = random_batch()
    values = batch.values
    plain, bypassed = compose(name), compose(name, "bypass")
    prepared = plain.prepare(batch).replace(old_logprobs=batch.sampler_logprobs)
    expected = plain.loss(logprobs, prepared, values=values).total
    found = bypassed.loss(logprobs, bypassed.prepare(batch), values=values).total
    assert torch.equal(found, expected)


def test_the_trainer_need_not_ask_the_policy_before_the_update():
    assert "old_logprobs" not in compose("dapo", "bypass").prepare_requires
    assert "sampler_logprobs" in compose("dapo", "bypass").requires


def test_nothing_is_left_to_correct(random_batch):
    logprobs, batch = random_batch()
    totals = [
        algorithm.loss(logprobs, algorithm.prepare(batch)).total
        for algorithm in (compose("dapo", "bypass"), compose("dapo", "bypass", "tis"))
    ]
    assert torch.equal(*totals)
