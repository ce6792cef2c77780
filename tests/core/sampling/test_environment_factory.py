"""Classes for TRL's `environment_factory`; tests/peers compares them with TRL itself."""

import anyio
import pytest

from anypo import SamplerError
from anypo.data.calls import Call, Reply
from anypo.sampling.environment_factory import FactoryEnvironments
from anypo.sampling.environments import Answer
from anypo.sampling.load import ChosenEnvironment

ROW = {"prompt": [{"role": "user", "content": "sell"}], "stock": "tea", "tools": ["…"]}
SAID = Reply({"role": "assistant", "content": "all"}, [])


class Shop:
    """Sells."""

    def __init__(self):
        self.sold = []

    def reset(self, prompt, stock):
        self.sold = []
        return f" {stock}"

    def sell(self, number: int):
        """Sell.

        Args:
            number: How many.
        """
        if number > 5:
            raise ValueError("too many")
        self.sold.append(number)
        return {"sold": self.sold, "paid": True}

    async def ask(self, word: str):
        """Ask.

        Args:
            word: What about.
        """
        await anyio.sleep(0)
        return [{"type": "text" if word != "show" else "image", "text": word}]

    def get_reward(self):
        return float(sum(self.sold))

    def _count(self):
        return len(self.sold)


@pytest.fixture
def shops():
    return FactoryEnvironments(ChosenEnvironment("Shop", Shop, is_of_trl=True), 10.0)


def calling(*calls):
    return Reply({"role": "assistant", "content": ""}, [Call(name, given) for name, given in calls])


def texts(answer):
    return [message["content"] for message in answer.messages]


def test_public_methods_are_tools(shops):
    assert [schema["function"]["name"] for schema in shops.schemas] == ["ask", "sell"]


def test_reset_is_given_the_columns_of_the_data_set(shops):
    ((_, prompt),) = shops.begin([ROW])
    assert prompt == [{"role": "user", "content": "sell tea"}]


def test_results_and_errors_are_told_in_the_words_of_trl(shops):
    ((shop, _),) = shops.begin([ROW])
    calls = ("ask", {"word": "tea"}), ("sell", {"number": 2}), ("sell", {"number": 6})
    (answer,) = shops.answer([(shop, calling(*calls, ("_count", {}), ("reset", {})))])
    assert texts(answer) == [
        "{'sold': [2], 'paid': True}",
        "{'error': 'too many'}",
        "{'error': 'Tool _count not found.'}",
        "{'error': 'Tool reset not found.'}",
        "tea",  # what has to be waited for comes last
    ]
    assert (answer.failed, answer.done) == (3, False)


def test_a_reply_ends_the_conversation_if_it_calls_nothing_or_what_is_no_call(shops):
    ((shop, _),) = shops.begin([ROW])
    flawed = Reply(SAID.message, [Call("sell", {"number": 1}), Call(flaw="no JSON")])
    assert shops.answer([(shop, SAID), (shop, flawed)]) == [Answer(done=True)] * 2
    assert shops.answer_last([(shop, calling(("sell", {"number": 1})))]) == [Answer(done=True)]
    assert shop.sold == []


def test_what_no_model_of_texts_can_read_is_refused(shops):
    ((shop, _),) = shops.begin([ROW])
    with pytest.raises(SamplerError, match=r"^environment 'Shop' says what cannot be read: .*im"):
        shops.answer([(shop, calling(("ask", {"word": "show"})))])


def test_one_is_used_again_when_its_conversation_is_gone(shops):
    first, second = (shop for shop, _ in shops.begin([ROW] * 2))
    assert first is shops.first
    first.sold, lent = [1], shops.lent(first, rank=0)
    ((third, _),) = shops.begin([ROW])
    assert third not in (first, second)
    del lent
    ((again, _),) = shops.begin([ROW])
    assert again is first
    assert again.sold == []


def test_its_own_reward_is_a_reward_function(shops):
    ((shop, _),) = shops.begin([ROW])
    shops.answer([(shop, calling(("sell", {"number": 2})))])
    assert shops.score(environments=[shop, None, Shop()]) == [2.0, None, 0.0]


def test_its_own_reward_may_be_waited_for():
    class Slow(Shop):
        async def get_reward(self):
            await anyio.sleep(0)
            return 1.0

    slow = FactoryEnvironments(ChosenEnvironment("Slow", Slow, is_of_trl=True), 10.0)
    assert anyio.run(slow.score, [slow.first, None]) == [1.0, None]
