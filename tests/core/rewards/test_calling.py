"""Rewards that wait for services."""

import asyncio
import threading

import pytest

from anypo import Judgement, RewardError, retried
from anypo.hooks.batch import Prompt, Sample
from anypo.rewards.calling import Call, answers
from anypo.rewards.load import Reward, load_reward
from anypo.rewards.scorer import Rewards
from anypo.support import retries

TEXTS = {"completions": ["a", "b"]}


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.0)


def ask(*functions, timeout=20.0, again=0):
    calls = [Call(Reward(f"r{i}", f), TEXTS, again) for i, f in enumerate(functions)]
    return [[answer.score for answer in each] for each in answers(calls, timeout)]


def failing(error, times, calls, result=(1.0, 2.0)):
    """A function that fails some times before it answers; notes its calls."""

    def score(completions):
        calls.append(completions)
        if len(calls) <= times:
            raise error
        return list(result)

    return score


def awaited(function):
    """The same as an `async def`."""

    async def score(completions):
        return function(completions)

    return score


async def hang(completions):
    await asyncio.sleep(60)


def test_all_that_are_async_wait_at_the_same_time():
    waiting, all_wait = [], asyncio.Event()

    async def score(completions):
        waiting.append(None)
        if len(waiting) == 3:
            all_wait.set()
        await all_wait.wait()
        return [float(len(waiting))] * 2

    assert ask(score, score, lambda completions: [0, 0], score) == [[3, 3], [3, 3], [0, 0], [3, 3]]


def test_what_is_awaited_may_say_it_in_words(tokenizer):
    async def score(completions):
        return [Judgement(1.0, f"{text}?") for text in completions]

    prompts = [Prompt([1], ""), Prompt([1], "")]
    samples = [Sample([1], tokenizer(text)["input_ids"], i) for i, text in enumerate("ab")]
    scored = Rewards([Reward("r", score)], tokenizer, timeout=20)(prompts, samples)
    assert [(s.reward, s.feedback) for s in scored] == [(1.0, "a?"), (1.0, "b?")]


def test_an_object_whose_call_is_async_is_awaited():
    class Score:
        async def __call__(self, completions):
            return [0.5, 1]

    assert ask(Score()) == [[0.5, 1.0]]


def test_calls_share_a_loop_so_that_clients_keep_their_connections():
    loops = []

    async def score(completions):
        loops.append(asyncio.get_running_loop())
        return [0, 0]

    ask(score)
    ask(score)
    assert loops[0] is loops[1]


def test_they_are_awaited_where_a_loop_runs_already():
    async def in_a_notebook():
        return ask(awaited(failing(None, 0, [])))

    assert asyncio.run(in_a_notebook()) == [[1.0, 2.0]]


@pytest.mark.parametrize("answer", [[1.0], [1.0, float("nan")], 0.5, None])
def test_what_they_return_is_checked_as_ever(answer):
    async def score(completions):
        return answer

    with pytest.raises(RewardError, match=r"^reward 'r0' returned"):
        ask(score)


def test_one_that_raises_is_named_with_error_and_line(file):
    function = load_reward(file("async def score(completions):\n    return 1 / 0") + ":score")
    with pytest.raises(RewardError, match=r"'r1' raised ZeroDivisionError: .*my_rewards\.py:2\)$"):
        ask(hang, function.function)


def test_one_that_hangs_is_named():
    with pytest.raises(RewardError, match=r"^reward 'r1' took longer than 0\.2 s; raise reward_t"):
        ask(awaited(failing(None, 0, [])), hang, timeout=0.2)


def test_one_that_blocks_the_loop_blocks_neither_the_run_nor_the_next_call():
    go_on = threading.Event()

    async def block(completions):
        go_on.wait()

    with pytest.raises(RewardError, match="took longer"):
        ask(block, timeout=0.2)
    assert ask(awaited(failing(None, 0, []))) == [[1.0, 2.0]]
    go_on.set()


def test_the_time_of_those_that_are_awaited_is_limited_in_any_thread():
    said = []

    def work():
        try:
            ask(hang, timeout=0.1)
        except RewardError as error:
            said.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "took longer than 0.1 s" in said[0]


@pytest.mark.parametrize("kind", [awaited, lambda function: function], ids=["async", "sync"])
def test_a_service_out_of_reach_is_asked_again_and_no_other_error_is(kind):
    calls = []
    assert ask(kind(failing(ConnectionError(), 2, calls)), again=2) == [[1.0, 2.0]]
    assert calls == [TEXTS["completions"]] * 3
    with pytest.raises(RewardError, match=r"'r0' raised TimeoutError.*, further attempts: 2$"):
        ask(kind(failing(TimeoutError(), 3, [])), again=2)
    calls = []
    with pytest.raises(RewardError, match=r"'r0' raised ValueError: no \(.*\)$"):
        ask(kind(failing(ValueError("no"), 3, calls)), again=2)
    assert len(calls) == 1


def test_a_request_that_was_given_up_is_not_begun_anew_with_the_whole_call():
    made = []

    async def request():
        made.append(None)
        raise ConnectionError

    async def score(completions):
        await retried(request)

    with pytest.raises(RewardError, match=r"ConnectionError.*, further attempts: 2$"):
        ask(score, again=2)
    assert len(made) == 3


def test_pauses_count_as_time(monkeypatch):
    monkeypatch.setattr(retries, "FIRST_PAUSE", 60.0)
    for kind in (awaited, lambda function: function):
        with pytest.raises(RewardError, match=r"took longer than 0\.2 s"):
            ask(kind(failing(ConnectionError(), 9, [])), again=9, timeout=0.2)


def test_each_attempt_is_given_what_the_first_was():
    seen = []

    async def score(completions):
        seen.append(list(completions))
        completions.clear()
        if len(seen) == 1:
            raise ConnectionError
        return [0.0, 0.0]

    ask(score, again=1)
    assert seen == [["a", "b"]] * 2


def test_the_user_is_told_how_often_each_time_it_has_doubled(tokenizer):
    said = []

    def flaky(completions, calls=[]):  # noqa: B006
        calls.append(None)
        if len(calls) % 2:
            raise ConnectionError("refused")
        return [0.0]

    scorer = Rewards([Reward("mine", flaky)], tokenizer, 20, retries=1, tell=said.append)
    for _ in range(5):
        scorer([Prompt([1], "p")], [Sample([1], [2], group=0)])
    counts = ["once", "2 times by now", "4 times by now"]
    assert said == [
        f"reward 'mine' was asked again, {count}: ConnectionError: refused" for count in counts
    ]
