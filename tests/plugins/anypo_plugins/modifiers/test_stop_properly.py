import pytest

from anypo import AnypoError, Prompt, Sample, compose


class Sampler:
    def sample(self, prompts, n):
        return [Sample([1], [2] * (i + 1), 0, truncated=i % 2 == 1) for i in range(n)]


def scored(prompts, samples):
    return [Sample([1], s.completion_ids, 0, reward=2.0, truncated=s.truncated) for s in samples]


@pytest.mark.parametrize(("coef", "reward"), [(0.0, 0.0), (0.25, 0.5), (1.0, 2.0), (-0.5, -0.5)])
def test_what_hits_the_limit_keeps_a_share_or_gets_a_fixed_reward(coef, reward):
    algorithm = compose("grpo", "stop_properly", knobs={"group_size": 4, "stop_coef": coef})
    samples = algorithm.rollout([Prompt([1], "")], Sampler(), scored, {})
    assert [sample.reward for sample in samples] == [2.0, reward, 2.0, reward]


def test_it_is_no_bonus():
    with pytest.raises(AnypoError, match="stop_coef"):
        compose("grpo", "stop_properly", knobs={"stop_coef": 1.5})


def test_completions_without_rewards_are_refused():
    with pytest.raises(AnypoError, match="stop_properly changes rewards, but"):
        compose("dpo", "stop_properly")
