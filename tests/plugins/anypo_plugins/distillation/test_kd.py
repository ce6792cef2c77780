import math

import pytest
import torch

from anypo import compose

STUDENT, TEACHER = [0.7, 0.2, 0.1], [0.25, 0.25, 0.5]


def softened(probabilities, temperature):
    powers = [p ** (1 / temperature) for p in probabilities]
    return [x / sum(powers) for x in powers]


@pytest.mark.parametrize("temperature", [1.0, 2.0, 0.5])
def test_targets_are_the_teacher_s_softened_probabilities(temperature):
    logs = (torch.tensor([p], dtype=torch.float64).log() for p in (STUDENT, TEACHER))
    found = compose("kd", knobs={"soften": temperature}).statistics(*logs)["soft"].item()
    student, teacher = softened(STUDENT, temperature), softened(TEACHER, temperature)
    kl = sum(t * math.log(t / s) for t, s in zip(teacher, student, strict=True))
    assert found == pytest.approx(temperature**2 * kl)


@pytest.mark.parametrize("hard", [0.0, 0.3])
def test_the_tokens_themselves_may_be_targets_too(random_batch, hard):
    logprobs, batch = random_batch()
    algorithm, soft = compose("kd", knobs={"hard_coef": hard}), batch.values.square()
    prepared = algorithm.prepare(batch)
    logprobs = logprobs.requires_grad_()
    soft.requires_grad_()
    loss = algorithm.loss(logprobs, prepared, token_statistics={"soft": soft})
    loss.total.backward()
    live = batch.mask.double()
    expected = (soft - hard * logprobs)[batch.mask].mean()
    torch.testing.assert_close(loss.total, expected)
    torch.testing.assert_close(soft.grad, live / live.sum())
    torch.testing.assert_close(logprobs.grad, -hard * live / live.sum())


def test_requires_a_teacher_and_completions():
    assert compose("kd").requires == {"teacher"}
    assert compose("kd").inputs.completions == {"completion"}
