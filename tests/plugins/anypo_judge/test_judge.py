"""`judge:MODEL@URL` asks a server on this machine."""

import threading

import pytest

from anypo import RewardError
from anypo.errors import DataError
from anypo.hooks.batch import Prompt, Sample
from anypo.rewards.load import load_reward
from anypo.rewards.scorer import Rewards
from anypo.support import retries

UNREACHABLE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch):
    monkeypatch.setattr(retries, "FIRST_PAUSE", 0.0)


@pytest.fixture
def score(tokenizer):
    """The scores that a judge gives to some texts."""

    def score(spec, *texts, prompts=None, again=0, timeout=20.0):
        prompts = prompts or [Prompt([1], f"question {i}") for i in range(len(texts))]
        scorer = Rewards([load_reward(spec)], tokenizer, timeout, retries=again)
        for prompt in prompts:
            scorer.check(prompt)
        samples = [Sample([1], tokenizer(t)["input_ids"], group=i) for i, t in enumerate(texts)]
        return [sample.reward for sample in scorer(prompts, samples)]

    return score


def shown(body):
    return body["messages"][0]["content"]


def test_the_score_of_every_completion_is_asked_for(chat, score, verdict):
    chat.answer = lambda body: (200, verdict(0.25 if "hot" in shown(body) else 1))
    assert score(f"judge:org/judge-7b@{chat.url}", "hot", "cold") == [0.25, 1.0]
    body = next(body for body in chat.bodies if "cold" in shown(body))
    assert "question 1" in shown(body)
    assert (body["model"], body["temperature"]) == ("org/judge-7b", 0.0)
    schema = body["response_format"]["json_schema"]["schema"]
    assert schema["required"] == ["reason", "score"]
    assert schema["additionalProperties"] is False
    assert set(chat.paths) == {"/v1/chat/completions"}


def test_its_reason_is_feedback(chat, tokenizer):
    scorer = Rewards([load_reward(f"judge:m@{chat.url}")], tokenizer, timeout=20.0)
    sample = Sample([1], tokenizer("a")["input_ids"], group=0)
    (scored,) = scorer([Prompt([1], "question")], [sample])
    assert (scored.reward, scored.feedback) == (0.5, "so")


def test_all_that_may_be_asked_at_a_time_are(chat, score, verdict):
    everybody = threading.Barrier(4, timeout=20)

    def answer(_):
        everybody.wait()  # nobody is answered before four have asked
        return 200, verdict(1)

    chat.answer = answer
    assert score(f"judge:m@{chat.url}?concurrency=4", *"abcdefgh") == [1.0] * 8


def test_no_more_are_asked_at_a_time(chat, score, verdict):
    now, most, lock = [], [], threading.Lock()

    def answer(body):
        with lock:
            now.append(body)
            most.append(len(now))
        with lock:
            now.remove(body)
        return 200, verdict(1)

    chat.answer = answer
    score(f"judge:m@{chat.url}?concurrency=1", *"abcde")
    assert max(most) == 1


def test_the_prompt_comes_from_a_file_and_shows_columns(chat, score, tmp_path):
    file = tmp_path / "judge.txt"
    file.write_text("{{ answer }} is right. {{ prompt }} {{ completion }} 0 to {{ max }} {x}")
    rows = [Prompt([1], "2 + 2?", {"answer": 4, "other": "no"})]
    assert score(f"judge:m@{chat.url}/v1?prompt={file}&max=10", "five", prompts=rows) == [0.5]
    assert [shown(body) for body in chat.bodies] == ["4 is right. 2 + 2? five 0 to 10 {x}"]


def test_a_column_that_the_prompt_shows_has_to_be_there(chat, score, tmp_path):
    (tmp_path / "judge.txt").write_text("{{ rubric }} {{ completion }}")
    with pytest.raises(DataError, match="reward 'judge' needs a column 'rubric'; there is none"):
        score(f"judge:m@{chat.url}?prompt={tmp_path / 'judge.txt'}", "a")
    assert not chat.bodies


def test_a_conversation_is_shown_with_its_roles(chat, score):
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi!"}]
    score(f"judge:m@{chat.url}", "Hello.", prompts=[Prompt([1], messages)])
    (body,) = chat.bodies
    assert "<request>\nsystem: Be kind.\n\nuser: Hi!\n</request>" in shown(body)
    assert "<answer>\nHello.\n</answer>" in shown(body)


def test_the_key_is_that_of_the_environment(chat, score, monkeypatch):
    score(f"judge:m@{chat.url}", "a")
    monkeypatch.setenv("JUDGE_API_KEY", "secret")
    score(f"judge:m@{chat.url}", "a")
    assert [headers["authorization"] for headers in chat.headers] == [None, "Bearer secret"]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_only_requests_that_failed_are_made_again(chat, score, verdict, status):
    seen = []

    def answer(body):
        seen.append(shown(body))
        return (status, b"busy") if len(seen) == 2 else (200, verdict(1))

    chat.answer = answer
    assert score(f"judge:m@{chat.url}?concurrency=1", *"abc", again=1) == [1.0] * 3
    assert len(seen) == 4
    assert len(set(seen)) == 3


def test_a_server_that_stays_busy_ends_the_run_with_what_it_says(chat, score):
    chat.answer = lambda _: (503, b'{"error": {"message": "no GPU left"}}')
    with pytest.raises(RewardError, match=r"judge 'm' at http.* with status 503: no GPU left"):
        score(f"judge:m@{chat.url}?concurrency=1", "a", again=2)
    assert len(chat.bodies) == 3


@pytest.mark.parametrize(
    ("status", "message"), [(400, "status 400: why"), (401, "JUDGE_API_KEY"), (404, "404: why")]
)
def test_what_is_wrong_with_the_request_is_not_asked_again(chat, score, status, message):
    chat.answer = lambda _: (status, b"why")
    with pytest.raises(RewardError, match=message):
        score(f"judge:m@{chat.url}", "a", again=2)
    assert len(chat.bodies) == 1


def test_a_server_that_is_not_there_is_named(score):
    with pytest.raises(RewardError, match=r"judge 'm' at http://127\.0\.0\.1:1/.* cannot be reac"):
        score(f"judge:m@{UNREACHABLE}", "a", again=1)


def test_a_server_that_does_not_answer_is_not_waited_for_for_long(chat, score):
    go_on = threading.Event()
    chat.answer = lambda _: (go_on.wait() and 200, b"")
    try:
        with pytest.raises(RewardError, match=r"reward 'judge' took longer than 0\.3 s"):
            score(f"judge:m@{chat.url}", "a", timeout=0.3)
    finally:
        go_on.set()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("I would say 7/10.", r"no \{.*, but: I would say 7/10\."),
        ('{"score": 1}', "no .*, but: "),
        ('{"reason": "so", "score": "1"}', "no .*, but: "),
        ('{"reason": "so", "score": true}', "no .*, but: "),
        ('{"reason": "so", "score": NaN}', "no .*, but: .*NaN"),
        ('{"reason": "so", "score": 1, "more": 2}', "no .*, but: "),
        ('```json\n{"reason": "so", "score": 1}\n```', "no .*, but: ```json"),
        ('{"reason": "so", "sco', "no .*, but: .*sco"),
        ('{"reason": "so", "score": 1.5}', "a score that is not between 0 and 1: .*1.5"),
        (None, "no .*, but: null"),
    ],
)
def test_what_is_no_verdict_is_an_error_with_its_text(chat, score, said, text, message):
    chat.answer = lambda _: (200, said(text))
    with pytest.raises(RewardError, match=f"^judge 'm' at http.* answers {message}"):
        score(f"judge:m@{chat.url}", "a", again=3)
    assert len(chat.bodies) == 1


@pytest.mark.parametrize("content", [b"<html>", b"{}", b'{"choices": []}', b"[1]"])
def test_what_is_no_chat_completion_is_an_error_with_its_text(chat, score, content):
    chat.answer = lambda _: (200, content)
    with pytest.raises(RewardError, match=f"no chat completion, but: .{content.decode()[1:3]}"):
        score(f"judge:m@{chat.url}", "a")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("", "needs a model and an address: judge:MODEL@URL"),
        ("gpt-4o-mini", "needs a model and an address"),
        ("@http://a", "needs a model and an address"),
        ("m@http://", "no valid address"),
        ("m@http://a:b:c", "no valid address"),
        ("m@https://me:secret@a/v1", "a password in its address"),
        ("m@http://a?promt=x.txt", "refuses promt=x.txt: .* options are prompt, max"),
        ("m@http://a?max=0", "refuses max=0"),
        ("m@http://a?max=1&max=2", "an option twice"),
        ("m@http://a?url=http://b", "refuses url=http://b"),
        ("m@http://a?prompt=nowhere.txt", "cannot be read: .*nowhere.txt"),
    ],
)
def test_what_does_not_name_a_judge_is_refused(argument, message):
    with pytest.raises(RewardError, match=message) as error:
        load_reward(f"judge:{argument}")
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [("{{ completion", "is no Jinja template"), ("{{ prompt }}", "does not show it")],
)
def test_what_is_no_prompt_is_refused(tmp_path, text, message):
    (tmp_path / "judge.txt").write_text(text)
    with pytest.raises(RewardError, match=message):
        load_reward(f"judge:m@{UNREACHABLE}?prompt={tmp_path / 'judge.txt'}")


def test_a_weight_follows_its_name():
    assert load_reward(f"judge=0.5:m@{UNREACHABLE}?max=10").weight == 0.5
