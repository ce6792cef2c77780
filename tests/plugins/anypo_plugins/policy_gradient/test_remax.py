import math

import pytest
import torch

from anypo import AnypoError, compose


def by_hand(rows, new, sg):
    """`margin` stands for the reward of the greedy completion."""
    gains = []
    for row in rows:
        earned = [-0.3 * (row.old[t] - row.ref[t]) for t in row.tokens]
        if earned:
            earned[-1] += row.reward
        for i, t in enumerate(row.tokens):
            advantage = sum(0.9**k * r for k, r in enumerate(earned[i:])) - row.margin
            ratio = math.exp(new[row.index][t] - row.old[t])
            gains.append(min(ratio * advantage, min(max(ratio, 0.8), 1.2) * advantage))
    return -sum(gains) / len(gains)


@pytest.mark.parametrize("seed", range(3))
def test_agrees_with_the_equations_worked_by_hand(random_batch, agrees_by_hand, seed):
    logprobs, batch = random_batch(seed)
    greedy = torch.linspace(-1, 1, len(batch), dtype=torch.float64)
    algorithm = compose("remax", knobs={"kl_coef": 0.3, "gamma": 0.9})
    agrees_by_hand(algorithm, by_hand, logprobs, batch.replace(baseline=greedy, margin=greedy))


def test_the_baseline_is_the_reward_of_the_greedy_completion(deal):
    def worth(content, how):
        return ord(content) + (0.5 if how else 0.0)

    samples, drawn = deal(compose("remax"), ["a", "b"], worth)
    assert drawn == [(["a", "b"], 1, {}), (["a", "b"], 1, {"greedy": True})]
    assert [sample.reward for sample in samples] == [97.0, 98.0]
    assert [sample.columns["baseline"] for sample in samples] == [97.5, 98.5]


def test_completions_of_a_prompt_share_its_baseline(deal):
    algorithm = compose("remax", knobs={"group_size": 3})
    samples, _ = deal(algorithm, ["a", "b"], lambda content, how: ord(content) * bool(how))
    assert [sample.columns["baseline"] for sample in samples] == [97.0] * 3 + [98.0] * 3


def test_needs_a_reference_for_the_kl_alone_and_no_critic():
    assert compose("remax").requires == {"old_logprobs", "reference"}
    assert compose("remax", knobs={"kl_coef": 0}).requires == {"old_logprobs"}
    with pytest.raises(AnypoError, match="lam"):
        compose("remax", knobs={"lam": 0.9})
