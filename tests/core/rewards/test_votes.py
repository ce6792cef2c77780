import pytest

from anypo.errors import RewardError
from anypo.rewards.load import Reward
from anypo.rewards.scorer import Rewards
from anypo.rewards.votes import answers, teller


def scores(completions, **_):
    return [1.0] * len(completions)


def rewards(tokenizer, *functions, timeout=0):
    made = [Reward(f"r{i}", function) for i, function in enumerate(functions)]
    return Rewards(made, tokenizer, timeout)


def telling(answer_of):
    def reward(completions, **_):
        return scores(completions)

    reward.answer_of = answer_of
    return reward


def test_the_first_that_can_tells_the_answers(tokenizer):
    scorer = rewards(tokenizer, scores, telling(len), telling(str))
    assert teller(scorer).name == "r1"
    assert answers(scorer, ["a", "bc"]) == ["1", "2"]


def test_none_tells_where_none_can(tokenizer):
    assert answers(rewards(tokenizer, scores), ["a"]) is None


def test_a_completion_may_have_no_answer(tokenizer):
    assert answers(rewards(tokenizer, telling(lambda text: text or None)), ["a", ""]) == ["a", None]


def test_one_that_takes_too_long_is_stopped(tokenizer):
    def endless(_):
        while True:
            pass

    with pytest.raises(RewardError, match=r"answer_of of reward .r0. took longer than 0\.1 s"):
        answers(rewards(tokenizer, telling(endless), timeout=0.1), ["a"])
