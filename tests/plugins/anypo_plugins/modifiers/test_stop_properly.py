import pytest

from anypo import AnypoError, compose


@pytest.mark.parametrize("coef", [0.0, 0.25, 1.0, -0.5])
def test_what_hits_the_limit_keeps_a_share_or_gets_a_fixed_reward(rolls_out_by_hand, coef):
    def by_hand(draw):
        rows = draw(4)
        for row in rows:
            if row.truncated:
                row.reward = coef if coef < 0 else coef * row.reward
        return rows

    knobs = {"group_size": 4, "stop_coef": coef}
    rolls_out_by_hand(compose("grpo", "stop_properly", knobs=knobs), by_hand, steps=2)


def test_it_is_no_bonus():
    with pytest.raises(AnypoError, match="stop_coef"):
        compose("grpo", "stop_properly", knobs={"stop_coef": 1.5})


def test_completions_without_rewards_are_refused():
    with pytest.raises(AnypoError, match="stop_properly changes rewards, but"):
        compose("dpo", "stop_properly")
