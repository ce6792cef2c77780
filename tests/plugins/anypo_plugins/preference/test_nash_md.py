import math
from statistics import fmean

import pytest
import torch
from rivals import Script

from anypo import AnypoError, Prompt, compose


def by_hand(rows, new, sg):
    """The surrogate of one step: a ratio per completion, clipped, times its advantage."""
    gains = []
    for row in rows:
        drift = sum(row.old[t] - row.ref[t] for t in row.tokens)
        advantage = row.reward - 0.5 - 0.3 * drift
        ratio = math.exp(sum(new[row.index][t] - row.old[t] for t in row.tokens))
        clipped = min(max(ratio, 0.8), 1.2)
        if row.tokens:
            gains.append(min(ratio * advantage, clipped * advantage))
    return -fmean(gains)


@pytest.mark.parametrize("seed", range(2))
def test_agrees_with_the_equation_worked_by_hand(random_batch, agrees_by_hand, seed):
    algorithm = compose("nash_md", knobs={"kl_coef": 0.3})
    agrees_by_hand(algorithm, by_hand, *random_batch(seed, scale=0.2))


def test_at_the_first_step_it_is_the_paper_s_policy_gradient(random_batch, loss_and_gradient):
    _, batch = random_batch()
    algorithm = compose("nash_md")
    old = batch.old_logprobs
    _, gradient = loss_and_gradient(algorithm, old, algorithm.prepare(batch))
    drift = (old - batch.ref_logprobs).sum(-1)
    gain = (batch.rewards - 0.5 - 0.1 * drift) / batch.mask.any(-1).sum()
    torch.testing.assert_close(gradient, -gain.unsqueeze(-1) * batch.mask)


def test_is_rewarded_by_the_probability_of_beating_the_reference():
    script = Script(policy=[[5], [2], [4]], reference=[[3], [7], [4]])
    prompts = [Prompt([1, i], "") for i in range(3)]
    samples = compose("nash_md").rollout(prompts, script, script, {})
    assert [s.completion_ids for s in samples] == [[5], [2], [4]]
    assert [s.reward for s in samples] == pytest.approx(
        [1 / (1 + math.exp(-lead)) for lead in (0.2, -0.5, 0.0)]
    )


def test_needs_no_critic_and_no_penalty():
    assert compose("nash_md").requires == {"old_logprobs", "reference"}


def test_a_critic_that_could_learn_nothing_is_refused():
    with pytest.raises(AnypoError, match=r"value_coef = 0\.1 is refused"):
        compose("nash_md", knobs={"value_coef": 0.1})
