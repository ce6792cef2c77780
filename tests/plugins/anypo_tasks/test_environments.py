"""The environments that come along, and the tasks that they are for."""

import json

import pytest

from anypo import Turn, run
from anypo_tasks.calculator import problems
from anypo_tasks.calculator.environment import Calculator
from anypo_tasks.calculator.task import CalculatorTask
from anypo_tasks.retry.environment import Retry, said_of
from anypo_tasks.retry.problems import demonstrations
from anypo_tasks.retry.task import RetryTask

ROW = {"prompt": [{"role": "user", "content": "37+68"}], "answer": "105"}


def reply(text):
    return {"role": "assistant", "content": text}


@pytest.mark.parametrize(
    ("answer", "right", "says"),
    [
        ("104", "105", "wrong: ones"),
        ("15", "105", "wrong: tens and hundreds"),
        ("214", "105", "wrong: ones and tens and hundreds"),
        ("1105", "105", "wrong: too long"),
        ("", "105", "there is no number"),
        ("a5", "105", "there is no number"),
    ],
)
def test_the_columns_that_are_wrong_are_named(answer, right, says):
    assert said_of(answer, right) == says


def test_retry_ends_with_a_right_answer():
    environment = Retry()
    environment.reset(ROW)
    assert environment.step(reply("<answer>95</answer>")) == Turn("wrong: tens and hundreds")
    assert environment.step(reply("7+8=15 <answer>105</answer>")) == Turn(reward=1.0, done=True)


def test_conversations_to_begin_from_are_what_the_environment_would_say():
    for conversation in demonstrations([ROW], seed=0)[:200]:
        prompt, *rest = conversation["messages"]
        assert [prompt] == ROW["prompt"]
        environment = Retry()
        environment.reset(ROW)
        for said, answered in zip(rest[::2], [*rest[1::2], None], strict=True):
            turn = environment.step(said)
            assert answered is None or turn.observation == answered["content"]
        assert turn.done or len(rest) == 3


def test_the_calculator_calculates():
    calculate = Calculator().calculate
    assert calculate("37*46") == "1702"
    assert calculate(" -(2+3)*4/8 ") == "-2.5"


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "1+",
        "a",
        "2**9",
        "9" * 200,
        "10**9",
        "1/0",
        "True",
        "f(1)",
        "9999999*9999999",
        "1 if 1 else 2",
    ],
)
def test_and_nothing_else(expression):
    with pytest.raises((ValueError, SyntaxError, ZeroDivisionError)):
        Calculator().calculate(expression)


def test_the_calculator_judges_the_answer():
    environment = Calculator()
    environment.reset({"answer": "1702"})
    assert environment.step(reply("<answer>1702</answer>")) == Turn(reward=1.0, done=True)
    assert environment.step(reply("1700")) == Turn(done=True)


def test_what_is_called_in_the_conversations_to_begin_from_is_what_is_said():
    (row,) = [row for row in problems.problems(0)[0] if row["prompt"][0]["content"] == "37*46"]
    found = {len(c["messages"]) for c in problems.demonstrations([row], [], 0)[:200]}
    assert found == {2, 4}
    for conversation in problems.demonstrations([row], [], 0)[:200]:
        for call, told in zip(
            conversation["messages"][1:], conversation["messages"][2:], strict=False
        ):
            if told["role"] == "tool" and told["content"] != "error":
                start, end = "<tool_call>", "</tool_call>"
                made = json.loads(call["content"].removeprefix(start).removesuffix(end))
                assert Calculator().calculate(**made["arguments"]) == told["content"] == "1702"


@pytest.fixture
def hurried(monkeypatch, quick_task, tmp_path):
    """Makes the tasks in no time, and badly, with few problems."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for module in ("retry", "calculator"):
        monkeypatch.setattr(f"anypo_tasks.{module}.problems.DEMONSTRATIONS", 50)
    for module in ("addition", "calculator"):
        name = f"anypo_tasks.{module}.problems.problems"
        every = __import__(f"anypo_tasks.{module}.problems", fromlist=["problems"]).problems
        monkeypatch.setattr(name, lambda seed, every=every: tuple(r[:20] for r in every(seed)))


@pytest.mark.parametrize("name", ["retry", "calculator"])
def test_a_run_that_names_one_trains_on_its_task(name, hurried, tmp_path):
    options = {"steps": 1, "prompts_per_step": 2, "output": str(tmp_path / "run")}
    folder = run("grpo", environment=name, **options)
    config = (folder / "config.toml").read_text()
    assert f'task = "{name}"' in config
    assert f'environment = "{name}"' in config
    first, last = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    assert "eval/score" in first
    assert "conversation/calls" in last
    again = run("grpo", model=str(folder / "model"), **{**options, "output": str(tmp_path / "b")})
    assert f'environment = "{name}"' in (again / "config.toml").read_text()


@pytest.mark.parametrize("task", [RetryTask, CalculatorTask])
def test_what_is_made_has_a_fingerprint(task):
    assert len(task().fingerprint()) == 8
    assert task().fingerprint() == task().fingerprint()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", ["retry", "calculator"])
def test_the_policy_learns_to_talk(name, seed, tmp_path):
    folder = run("grpo", environment=name, seed=seed, output=str(tmp_path / "run"))
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    scores = [row["eval/score"] for row in found if "eval/score" in row]
    assert scores[-1] >= scores[0] + 0.25
    if name == "calculator":
        assert found[-1]["conversation/calls"] > found[1]["conversation/calls"]
