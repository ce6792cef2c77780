import math
import signal
import threading
import time
from contextlib import suppress
from dataclasses import replace
from threading import Lock

import numpy as np
import pytest
import torch
from accelerate import debug_launcher

from anypo import Judgement
from anypo.errors import DataError, RewardError
from anypo.hooks.batch import Prompt, Sample, step_columns
from anypo.rewards.load import Reward, load_reward
from anypo.rewards.scorer import Rewards
from anypo.support.here import Here
from anypo.support.world import World

TWO_ROWS = ("first", "second")


@pytest.fixture
def score(tokenizer):
    """Score some completions, of a prompt each, with some functions."""

    def score(*functions, texts=TWO_ROWS, prompts=None, weights=(1.0, 1.0), timeout=30.0):
        prompts = prompts or [Prompt([1], f"prompt {i}") for i in range(len(texts))]
        rewards = [
            Reward(f"r{i}", function, weight)
            for i, (function, weight) in enumerate(zip(functions, weights, strict=False))
        ]
        return Rewards(rewards, tokenizer, timeout)(prompts, answers(tokenizer, texts))

    return score


@pytest.fixture
def given(score):
    """What a function of any arguments is given."""

    def given(**situation):
        calls = []
        score(lambda **arguments: calls.append(arguments) or [0.0, 0.0], **situation)
        (arguments,) = calls
        return arguments

    return given


def answers(tokenizer, texts):
    return [
        Sample([1], tokenizer(text + tokenizer.eos_token)["input_ids"], group=i)
        for i, text in enumerate(texts)
    ]


def sleep(**_):
    time.sleep(30)


def test_a_callable_object_is_a_reward(file, score):
    code = "class Score:\n    def __call__(self, completions): return [1, 2]\nscore = Score()"
    reward = load_reward(file(code) + ":score")
    assert [s.reward for s in score(reward.function)] == [1.0, 2.0]


def test_two_rewards_of_one_name_are_refused(tokenizer):
    rewards = [load_reward("exact"), load_reward("exact=0.5")]
    with pytest.raises(RewardError, match=r"different: \['exact', 'exact'\]"):
        Rewards(rewards, tokenizer, timeout=1)


def test_functions_of_one_name_are_told_apart_by_what_the_user_wrote(tokenizer):
    rewards = Rewards([load_reward("regex:a"), load_reward("regex=2:b")], tokenizer, timeout=1)
    assert [reward.name for reward in rewards.rewards] == ["regex:a", "regex:b"]


@pytest.mark.parametrize("name", ["mean", "std", "kept", "environment"])
def test_a_function_that_is_called_as_something_else_is_called_as_it_was_written(tokenizer, name):
    reward = Reward(name, sleep, source=f"mine.py:{name}")
    assert [r.name for r in Rewards([reward], tokenizer, timeout=1).rewards] == [reward.source]


def test_no_reward_at_all_demands_no_column(tokenizer):
    rewards = Rewards([], tokenizer, timeout=1)
    rewards.check(Prompt([1], "p"))
    assert rewards.rewards == []


def test_a_function_of_any_arguments_gets_everything(given, tokenizer):
    arguments = given(
        texts=["one", "two"],
        prompts=[Prompt([1], "p", {"answer": 1}), Prompt([2], "q", {"answer": 2})],
    )
    assert arguments == {
        "prompts": ["p", "q"],
        "completions": ["one", "two"],
        "completion_ids": [s.completion_ids for s in answers(tokenizer, ["one", "two"])],
        "completion_mask": [[True] * 4] * 2,
        "answer": [1, 2],
    }


TALK = [
    {"role": "assistant", "content": "3"},
    {"role": "user", "content": "wrong"},
    {"role": "assistant", "content": "2"},
]
HELD = Sample(
    [1],
    [2, 3, 4, 5],
    group=0,
    reward=0.5,
    scores={"environment": 0.5},
    score_weights={"environment": 1.0},
    mask=[True, False, True, True],
    columns=step_columns(4, [(0, 0.2), (3, 0.3)]),
    asked=[{"role": "user", "content": "1+1, in digits"}],
    messages=TALK,
)


def test_a_conversation_is_seen_whole_and_what_its_environment_gave_counts(tokenizer):
    seen = []

    def judge(prompts, completions, completion_mask):
        seen.append((prompts, completions, completion_mask))
        return [2.0]

    scorer = Rewards([Reward("judge", judge, 0.25)], tokenizer, timeout=1)
    prompts = [Prompt([1], [{"role": "user", "content": "1+1"}])]
    (scored,) = scorer(prompts, [HELD])
    assert seen == [([HELD.asked], [TALK], [[True, False, True, True]])]
    assert (scored.reward, scored.scores) == (1.0, {"environment": 0.5, "judge": 2.0})
    assert scored.score_weights == {"environment": 1.0, "judge": 0.25}
    assert scored.columns == step_columns(4, [(0, 0.2), (3, 0.3 + 0.5)])
    assert scorer(prompts, [scored]) == [scored]
    assert Rewards([], tokenizer, timeout=1)(prompts, [HELD]) == [HELD]


def test_steps_of_functions_add_to_those_of_turns(tokenizer):
    def steps(completions):
        return [[(2, 1.0), (3, 1.0)]]

    (scored,) = Rewards([Reward("steps", steps, 0.5)], tokenizer, timeout=1)(
        [Prompt([1], [{"role": "user", "content": "1+1"}])], [HELD]
    )
    assert scored.columns["step_rewards"] == [0.2, 0.0, 0.5, 0.8]
    assert scored.columns["step_ends"] == [1.0, 0.0, 1.0, 1.0]


def test_a_score_of_the_whole_counts_at_the_last_turn_beside_steps(tokenizer):
    rewards = [
        Reward("steps", lambda completions: [[(0, 1.0)]], 0.5),
        Reward("whole", lambda completions: [2.0], 0.25),
        Reward("other", lambda completions: [None]),
    ]
    prompts = [Prompt([1], [{"role": "user", "content": "1+1"}])]
    (scored,) = Rewards(rewards, tokenizer, timeout=1)(prompts, [HELD])
    assert scored.columns == step_columns(4, [(0, 0.2 + 0.5), (3, 0.3 + 0.5)])
    (alone,) = Rewards(rewards, tokenizer, timeout=1)(prompts, [replace(HELD, columns={})])
    assert alone.columns == step_columns(4, [(0, 0.5)])


def test_a_function_gets_only_what_it_names(score):
    def named(answer, completions, hint="none"):
        return [float(a == c and hint == "none") for a, c in zip(answer, completions, strict=True)]

    prompts = [Prompt([1], "p", {"answer": text, "level": 3}) for text in TWO_ROWS]
    assert [s.reward for s in score(named, prompts=prompts)] == [1.0, 1.0]


def test_columns_are_aligned_with_the_completions(tokenizer):
    prompts = [Prompt([1], "p", {"answer": "a"}), Prompt([1], "q", {"answer": "b"})]
    groups = [1, 0, 1]
    samples = [Sample([1], tokenizer("x")["input_ids"], group) for group in groups]
    seen = []
    reward = Reward("r", lambda prompts, answer: seen.append((prompts, answer)) or [1, 2, 3])
    scored = Rewards([reward], tokenizer, timeout=1)(prompts, samples)
    assert seen == [(["q", "p", "q"], ["b", "a", "b"])]
    assert [(s.group, s.reward) for s in scored] == [(1, 1.0), (0, 2.0), (1, 3.0)]


def test_a_column_that_some_rows_lack_is_none_there(given):
    prompts = [Prompt([1], "p", {"answer": 1}), Prompt([2], "q", {"hint": 2})]
    arguments = given(prompts=prompts)
    assert (arguments["answer"], arguments["hint"]) == ([1, None], [None, 2])


def test_text_prompts_have_text_completions_without_special_tokens(given):
    assert given()["completions"] == list(TWO_ROWS)


@pytest.mark.parametrize(
    ("stop", "read"),
    [(["x"], ["first", "second"]), (["s"], ["fir", ""]), (["co", "st", "ec"], ["fir", "s"])],
)
def test_a_text_is_read_to_the_first_of_the_texts_that_stop_it(tokenizer, stop, read):
    texts = []
    reward = Reward("r", lambda completions: texts.append(completions) or [0.0, 0.0])
    rewards, samples = Rewards([reward], tokenizer, 0), answers(tokenizer, TWO_ROWS)
    prompts = [Prompt([1], ""), Prompt([2], "")]
    scored = rewards.reading_to(stop)(prompts, samples)
    assert [s.completion_ids for s in scored] == [s.completion_ids for s in samples]
    rewards(prompts, samples)
    assert texts == [read, list(TWO_ROWS)]


def test_conversations_have_message_lists_as_completions(given):
    chat = [{"role": "user", "content": "hello"}]
    arguments = given(prompts=[Prompt([1], chat), Prompt([2], "text")])
    assert arguments["prompts"] == [chat, "text"]
    assert arguments["completions"] == [[{"role": "assistant", "content": "first"}], "second"]


@pytest.mark.parametrize("name", ["prompts", "completions", "completion_ids"])
def test_a_column_never_hides_what_is_scored(given, name):
    prompts = [Prompt([1], "prompt 0", {name: "column"}), Prompt([2], "prompt 1", {name: "column"})]
    assert given(prompts=prompts) == given()


def test_a_function_cannot_change_what_is_trained_on(score, tokenizer):
    def vandal(completion_ids):
        completion_ids[0].clear()
        return [0.0, 0.0]

    scored = score(vandal)
    assert [s.completion_ids for s in scored] == [
        s.completion_ids for s in answers(tokenizer, TWO_ROWS)
    ]


def test_a_function_cannot_change_what_others_see(score):
    seen = []

    def vandal(completions):
        completions.reverse()
        return [0.0, 0.0]

    def witness(completions):
        seen.extend(completions)
        return [0.0, 0.0]

    score(vandal, witness)
    assert seen == list(TWO_ROWS)


def test_the_reward_is_the_weighted_sum_and_scores_are_raw(score):
    first, second = score(lambda **_: [1, 2], lambda **_: [10, 20], weights=(2.0, -0.5))
    assert (first.reward, first.scores) == (-3.0, {"r0": 1.0, "r1": 10.0})
    assert (second.reward, second.scores) == (-6.0, {"r0": 2.0, "r1": 20.0})
    assert first.score_weights == second.score_weights == {"r0": 2.0, "r1": -0.5}


def test_scoring_leaves_the_rest_of_a_sample_alone(tokenizer):
    sample = Sample([1], [5], group=0, logprobs=[-1.0], truncated=True, columns={"x": 1})
    reward = Reward("r", lambda completions: [1.0])
    (scored,) = Rewards([reward], tokenizer, timeout=1)([Prompt([1], "p")], [sample])
    assert scored == replace(sample, reward=1.0, scores={"r": 1.0}, score_weights={"r": 1.0})
    assert sample.reward is None


@pytest.mark.parametrize(
    "answer",
    [
        [0.5, 1],
        (0.5, 1),
        [0.5, True],
        np.array([0.5, 1.0]),
        np.array([0.5, 1.0], dtype=np.float32),
        torch.tensor([0.5, 1.0]),
        torch.tensor([0.5, 1.0], requires_grad=True),
        [np.float32(0.5), np.int64(1)],
    ],
    ids=str,
)
def test_numbers_may_come_in_many_ways(score, answer):
    rewards = [s.reward for s in score(lambda completions: answer)]
    assert rewards == [0.5, 1.0]
    assert {type(reward) for reward in rewards} == {float}


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ([1.0], "returned 1 numbers for 2 completions"),
        ([1.0, 2.0, 3.0], "returned 3 numbers for 2 completions"),
        ([], "returned 0 numbers for 2 completions"),
        (0.5, "returned 0.5, not a list of numbers"),
        (None, "returned None, not a list of numbers"),
        ("ab", "returned 'ab', not a list of numbers"),
        ({0: 1.0, 1: 2.0}, "not a list of numbers"),
        (torch.tensor(0.5), "not a list of numbers"),
        ([1.0, math.nan], "returned nan for completion 1: a reward is a finite number"),
        ([math.inf, 1.0], "returned inf for completion 0"),
        ([1.0, -math.inf], "returned -inf for completion 1"),
        ([1.0, "2"], "returned '2' for completion 1"),
        ([1.0, 1j], "returned 1j for completion 1"),
        (torch.tensor([[1.0], [2.0]]), r"returned \[1\.0\] for completion 0"),
        (np.array([1.0, np.nan]), "returned nan for completion 1"),
        ([1.0, 10**400], "returned 1000.* for completion 1"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_anything_but_one_finite_number_per_completion_is_refused(score, answer, message):
    with pytest.raises(RewardError, match=f"^reward 'r0' .*{message}"):
        score(lambda completions: answer)


@pytest.mark.parametrize("answer", [0.5, None, [1.0], [1.0, 2.0, 3.0]])
def test_the_answer_is_checked_whatever_the_function_asks_for(score, answer):
    with pytest.raises(RewardError, match=r"^reward 'r0' returned .*"):
        score(lambda completion_ids: answer)


def test_steps_are_rewarded_where_they_end(score):
    first, second = score(lambda **_: [[(1, 0.5), (2, 1)], 2.0], weights=(2.0,))
    assert (first.reward, first.scores) == (3.0, {"r0": 1.5})
    assert first.columns["step_rewards"] == [0, 1, 2, 0, 0, 0]
    assert first.columns["step_ends"] == [0, 1, 1, 0, 0, 0]
    assert (second.reward, second.scores) == (4.0, {"r0": 2.0})
    assert second.columns["step_ends"] == [0] * len(second.completion_ids)


def test_without_steps_there_are_no_columns_of_steps(score):
    assert all(sample.columns == {} for sample in score(lambda **_: [1.0, 2.0]))


@pytest.mark.parametrize("steps", [[(6, 1.0)], [(-1, 1.0)], [(0, 1.0), (0, 2.0)]])
def test_a_step_ends_at_a_token_of_its_own(score, steps):
    with pytest.raises(RewardError, match=r"^reward 'r0' ends a step at token -?\d of a compl.* 6"):
        score(lambda **_: [steps, 0.0])


def test_two_functions_may_not_end_a_step_at_one_token(score):
    with pytest.raises(RewardError, match="'r1' ends a step at token 2"):
        score(lambda **_: [[(2, 1.0)], 0.0], lambda **_: [[(2, 1.0)], 0.0])


@pytest.mark.parametrize("step", [(1,), (0.5, 1.0), (1, math.nan), (1, "2"), (1, 2, 3), 1.0])
def test_what_is_no_step_is_refused(score, step):
    with pytest.raises(RewardError, match=r"^reward 'r0' returned \[.* for completion 1"):
        score(lambda **_: [0.0, [(0, 1.0), step]])


def test_none_is_left_out_of_the_sum_and_scored_as_nan(score):
    first, second = score(lambda **_: [None, 1.0], lambda **_: [2.0, None])
    assert (first.reward, second.reward) == (2.0, 1.0)
    assert math.isnan(first.scores["r0"])
    assert math.isnan(second.scores["r1"])
    assert (second.scores["r0"], first.scores["r1"]) == (1.0, 2.0)


def test_a_completion_that_nothing_scores_is_an_error(score):
    with pytest.raises(RewardError, match="every reward returned None for a completion"):
        score(lambda **_: [None, 1.0], lambda **_: [None, None])


@pytest.mark.parametrize(
    "said", [Judgement, lambda score, feedback: {"score": score, "feedback": feedback}]
)
def test_words_stand_beside_any_score(score, said):
    answers = [said(0.5, " too long\n"), said([(1, 1.0)], "good start"), said(None, "unread"), 2.0]
    samples = score(lambda **_: answers, lambda **_: [0.0] * 4, texts=["long"] * 4)
    assert [s.feedback for s in samples] == ["too long", "good start", "unread", ""]
    assert [s.reward for s in samples] == [0.5, 1.0, 0.0, 2.0]
    assert math.isnan(samples[2].scores["r0"])
    assert samples[1].columns["step_ends"][:3] == [0, 1, 0]


def test_a_judgement_may_be_without_words(score):
    samples = score(lambda **_: [Judgement(1.0), {"score": 2.0}])
    assert [(s.reward, s.feedback) for s in samples] == [(1.0, ""), (2.0, "")]


def test_what_several_say_is_joined_with_what_was_said_before(tokenizer):
    functions = [
        lambda **_: [Judgement(1.0, "a")],
        lambda **_: [3.0],
        lambda **_: [Judgement(2, "b")],
    ]
    rewards = [Reward(f"r{i}", function) for i, function in enumerate(functions)]
    sample = Sample([1], [5], group=0, feedback="the environment's")
    (scored,) = Rewards(rewards, tokenizer, timeout=0)([Prompt([1], "p")], [sample])
    assert (scored.feedback, scored.reward) == ("the environment's\na\nb", 6.0)


@pytest.mark.skipif(not torch.distributed.is_gloo_available(), reason="by gloo talk processes")
def test_words_reach_all_processes(tokenizer, tmp_path, monkeypatch):
    def said(completions):
        return [Judgement(1.0, f"read: {text}") for text in completions]

    def write():
        world = World(torch.distributed.get_rank(), torch.distributed.get_world_size())
        prompts = [Prompt([1], f"prompt {i}") for i in range(len(TWO_ROWS))]
        rewards = Rewards([Reward("r", said)], tokenizer, 0, world)
        scored = rewards(prompts, answers(tokenizer, TWO_ROWS))
        torch.save([s.feedback for s in scored], tmp_path / f"{world.rank}.pt")

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    debug_launcher(write, num_processes=2)
    words = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert words == [["read: first", "read: second"]] * 2


def test_functions_that_ask_are_given_the_environments_themselves(tokenizer):
    first, second = Lock(), Lock()  # which cannot be copied
    held = [Here(0, first), Here(0, second)]
    given = []

    def named(completions, environments):
        given.append(environments)
        return [0.0] * len(completions)

    def others(completions, **more):
        given.append(more["environments"])
        return [0.0] * len(completions)

    def alone(completions):
        return [0.0] * len(completions)

    rewards = [Reward(f.__name__, f) for f in (named, others, alone)]
    prompts = [Prompt([1], f"prompt {i}") for i in range(2)]
    scorer = Rewards(rewards, tokenizer, 30.0, talks=True)
    for prompt in prompts:
        scorer.check(prompt)
    samples = answers(tokenizer, TWO_ROWS)
    pairs = zip(samples, held, strict=True)
    scorer(prompts, [replace(sample, environment=lent) for sample, lent in pairs])
    assert given == [[first, second]] * 2


def test_of_conversations_of_a_run_with_more_processes_none_is_left_out(tokenizer):
    def named(completions, environments):
        return [float(environment is None) for environment in environments]

    samples = answers(tokenizer, TWO_ROWS)
    held = [Here(0, Lock()), Here(5, None)]
    kept = [replace(s, environment=lent) for s, lent in zip(samples, held, strict=True)]
    scorer = Rewards([Reward("named", named)], tokenizer, 30.0, talks=True)
    scored = scorer([Prompt([1], f"prompt {i}") for i in range(2)], kept)
    assert [sample.reward for sample in scored] == [0.0, 1.0]


def test_completions_that_no_environment_answered_have_none(tokenizer):
    given = []

    def named(completions, environments):
        given.append(environments)
        return [0.0] * len(completions)

    prompts = [Prompt([1], f"prompt {i}", {"environments": "of the row"}) for i in range(2)]
    Rewards([Reward("named", named)], tokenizer, 30.0, talks=True)(
        prompts, answers(tokenizer, TWO_ROWS)
    )
    assert given == [[None, None]]


def test_where_nobody_talks_there_are_no_environments(tokenizer):
    scorer = Rewards([Reward("a", lambda completions, environments: [])], tokenizer, 30.0)
    with pytest.raises(DataError, match="reward 'a' needs a column 'environments'"):
        scorer.check(Prompt([1], "a"))


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (Judgement(math.nan, "a"), "returned nan for completion 1: a reward is a finite number"),
        (Judgement(1.0, None), "returned None as the feedback to completion 1: feedback is a text"),
        (Judgement(Judgement(1.0)), r"returned Judgement\(.* for completion 1"),
        (Judgement(1.0, "\ud83d"), "gave feedback to completion 1 that is broken: after"),
        ({"score": 1.0, "feedback": 3}, "returned 3 as the feedback to completion 1"),
        (
            {"feedback": "a"},
            r"returned \{'feedback': 'a'\} for completion 1: .*Judgement\(score, f",
        ),
        ({"score": 1.0, "why": "a"}, r"returned \{'score': 1.0, 'why': 'a'\} for completion 1"),
        ((1.0, "a"), r"returned \(1.0, 'a'\) for completion 1"),
    ],
    ids=str,
)
def test_what_is_no_judgement_is_refused(score, answer, message):
    with pytest.raises(RewardError, match=f"^reward 'r0' {message}"):
        score(lambda **_: [0.0, answer])


def test_a_function_that_raises_is_named_with_error_and_line(score, file):
    function = load_reward(file("def score(completions):\n    return 1 / 0") + ":score").function
    with pytest.raises(RewardError, match=r"'r0' raised ZeroDivisionError: .*my_rewards\.py:2"):
        score(function)


def test_a_function_that_hangs_is_interrupted(score):
    threads = set(threading.enumerate())
    with pytest.raises(RewardError, match=r"'r0' took longer than 0\.2 s; raise reward_timeout"):
        score(sleep, timeout=0.2)
    assert set(threading.enumerate()) <= threads


def test_a_function_that_swallows_exceptions_does_not_swallow_the_limit(score):
    def stubborn(completions):
        while True:
            with suppress(Exception):
                time.sleep(30)

    with pytest.raises(RewardError, match="took longer"):
        score(stubborn, timeout=0.2)


def test_a_function_may_set_alarms_of_its_own(score):
    rang = []

    def alarmed(completions):
        before = signal.signal(signal.SIGALRM, lambda *_: rang.append(True))
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        while not rang:
            time.sleep(0.01)
        signal.signal(signal.SIGALRM, before)
        return [1.0, 2.0]

    assert [s.reward for s in score(alarmed)] == [1.0, 2.0]
    assert rang == [True]


def test_a_function_that_cancels_alarms_is_interrupted_all_the_same(score):
    def cancelling(completions):
        signal.alarm(0)
        sleep()

    with pytest.raises(RewardError, match="took longer"):
        score(cancelling, timeout=0.2)


def test_a_thread_that_cannot_be_timed_is_not_the_fault_of_the_function(score):
    errors = []

    def work():
        try:
            score(lambda completions: [0.0, 0.0])
        except Exception as error:
            errors.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert errors == [
        "only the main thread on POSIX can be timed: call run there, or set reward_timeout to 0"
    ]


def test_without_a_limit_any_thread_can_score(score):
    scored = []
    thread = threading.Thread(
        target=lambda: scored.extend(score(lambda completions: [1.0, 2.0], timeout=0))
    )
    thread.start()
    thread.join()
    assert [s.reward for s in scored] == [1.0, 2.0]


def needs_answer(completions, answer):
    return [0.0] * len(completions)


def needs_answer_by_keyword(completions, *, answer):
    return [0.0] * len(completions)


def may_use_answer(prompts, completions, completion_ids, answer=None, *others, **more):
    return [0.0] * len(completions)


def row_with(*columns):
    return Prompt([1], "", dict.fromkeys(columns, 1))


@pytest.mark.parametrize("function", [needs_answer, needs_answer_by_keyword])
def test_a_missing_column_is_named_with_what_the_row_has(tokenizer, function):
    rewards = Rewards([Reward("mine", function)], tokenizer, timeout=1)
    with pytest.raises(DataError, match=r"'mine' needs a column 'answer'; there is level, hint$"):
        rewards.check(row_with("level", "hint"))
    with pytest.raises(DataError, match="there is none besides prompt"):
        rewards.check(row_with())


def test_a_built_in_that_needs_a_column_says_so(tokenizer):
    rewards = Rewards([load_reward("exact")], tokenizer, timeout=1)
    with pytest.raises(DataError, match="'exact' needs a column 'answer'"):
        rewards.check(row_with("solution"))


@pytest.mark.parametrize("function", [needs_answer, needs_answer_by_keyword])
def test_a_column_that_is_there_is_not_missed(tokenizer, function):
    rewards = Rewards([Reward("mine", function)], tokenizer, timeout=1)
    rewards.check(row_with("level", "answer"))


def test_what_a_function_can_do_without_is_not_demanded(tokenizer):
    Rewards([Reward("mine", may_use_answer)], tokenizer, timeout=1).check(row_with())


def test_a_blank_that_a_function_cannot_take_is_refused_and_one_that_it_takes_is_not(tokenizer):
    blank = Prompt([1], "", {"answer": ""})
    exact = Rewards([load_reward("exact")], tokenizer, timeout=1)
    exact.check(blank)
    with pytest.raises(DataError, match=r"^'answer' is blank, and every reward returned None"):
        exact.check(Prompt([1], "", {"answer": None}))
    with pytest.raises(DataError, match=r"^'answer' is blank, and reward 'math' raised ValueErr"):
        Rewards([load_reward("math")], tokenizer, timeout=1).check(blank)


@pytest.mark.parametrize("spec", ["exact", "math"])
def test_a_row_that_no_function_scores_for_its_null_is_refused(tokenizer, spec):
    rewards = Rewards([load_reward(spec)], tokenizer, timeout=1)
    with pytest.raises(DataError, match=r"^'answer' is blank, and every reward returned None"):
        rewards.check(Prompt([1], "", {"answer": None}))


def test_a_row_is_refused_if_a_function_cannot_take_its_null(tokenizer):
    def longer(completions, answer):
        return [float(len(c) > len(a)) for c, a in zip(completions, answer, strict=True)]

    rewards = Rewards([Reward("longer", longer), Reward("mine", may_use_answer)], tokenizer, 1)
    for _ in range(2):
        with pytest.raises(
            DataError, match=r"^'answer' is blank, and reward 'longer' raised TypeE"
        ):
            rewards.check(Prompt([1], "", {"answer": None}))
    rewards.check(Prompt([1], "", {"answer": "ab"}))


def test_a_row_may_have_a_null_that_another_reward_makes_up_for(tokenizer):
    rewards = Rewards([load_reward("exact"), load_reward("length")], tokenizer, timeout=1)
    rewards.check(Prompt([1], "", {"answer": None}))


def from_options(completions, answer=None):
    return [None if a is None else 1.0 for a in answer]


def from_all_columns(completions, **columns):
    return [None if a is None else 1.0 for a in columns["answer"]]


@pytest.mark.parametrize("function", [from_options, from_all_columns])
def test_a_null_that_a_function_may_read_counts_too(tokenizer, function):
    rewards = Rewards([Reward("mine", function)], tokenizer, timeout=1)
    rewards.check(Prompt([1], "", {"answer": "2", "hint": ""}))
    with pytest.raises(DataError, match=r"^'answer' is blank, and every reward returned None"):
        rewards.check(Prompt([1], "", {"answer": None, "hint": ""}))


def test_a_blank_is_not_blamed_for_what_the_made_up_completion_brings_about(tokenizer):
    def demanding(completions, **_):
        return [{"good": 1.0}[text] for text in completions]

    rewards = Rewards([Reward("mine", demanding)], tokenizer, timeout=1)
    rewards.check(Prompt([1], "", {"hint": "a"}))
    rewards.check(Prompt([1], "", {"hint": None}))


def test_few_combinations_of_blanks_are_tried(tokenizer):
    calls = []

    def count(completions, **_):
        calls.append(1)
        return [0.0] * len(completions)

    rewards = Rewards([Reward("mine", count)], tokenizer, timeout=1)
    for n in range(100):
        for _ in range(2):
            rewards.check(Prompt([1], "", {f"column {n}": None}))
    assert len(calls) == 32


def test_no_completion_is_made_up_for_a_row_that_has_all(tokenizer):
    def never(answer):
        raise AssertionError

    Rewards([Reward("never", never)], tokenizer, timeout=1).check(row_with("answer"))


def test_built_in_rewards_add_up(tokenizer):
    rewards = [load_reward(spec) for spec in ("exact", "regex=0.5:<answer>", "length=0.01")]
    prompts = [Prompt([1], "1+1", {"answer": "2"}), Prompt([1], "2+2", {"answer": "4"})]
    samples = answers(tokenizer, ["<answer>2</answer>", "22"])
    right, wrong = Rewards(rewards, tokenizer, timeout=5)(prompts, samples)
    assert right.scores == {"exact": 1.0, "regex": 1.0, "length": -4.0}
    assert right.reward == pytest.approx(1 + 0.5 - 0.04)
    assert wrong.reward == pytest.approx(-0.03)
