"""ANYPO_TRACE_HOOKS prints every hook call, one line each."""

import pytest
import torch

from anypo import Batch, compose, hookimpl
from anypo.composition.tracing import shown
from anypo.errors import ConfigError, PluginError


@pytest.fixture
def trace(monkeypatch, capsys):
    """Turns tracing on, and gives the lines traced so far."""

    def trace(level=None):
        if level is not None:
            monkeypatch.setenv("ANYPO_TRACE_HOOKS", level)
        return capsys.readouterr().err.splitlines()

    return trace


def step(algorithm):
    zeros = torch.zeros(2, 3)
    batch = Batch(
        mask=torch.ones(2, 3),
        group=torch.tensor([0, 0]),
        rewards=torch.tensor([0.0, 1.0]),
        old_logprobs=zeros,
        ref_logprobs=zeros,
    )
    prepared = algorithm.prepare(batch, {"seen": zeros})
    return algorithm.loss(zeros.clone().requires_grad_(), prepared)


def test_a_call_is_one_line_of_who_answered_what_with_what(trace):
    trace("1")
    step(compose("grpo", "dual_clip"))
    lines = trace()
    assert lines[0] == (
        "hook advantage(batch=Batch [2, 3], state={seen: [2, 3] float32}) by grpo -> [2] float32"
    )
    (clip,) = (line for line in lines if line.startswith("hook clip("))
    assert clip.endswith("by dual_clip (wraps), grpo -> [2, 3] float32")
    assert "log_ratio=[2, 3] float32" in clip
    (penalties,) = (line for line in lines if line.startswith("hook regularizer("))
    assert penalties.endswith("token_statistics={}) by grpo -> [{kl: [2, 3] float32}]")


def test_a_replaced_answer_is_not_among_who_answered(trace):
    trace("1")
    step(compose("dapo"))
    (weight,) = (line for line in trace() if line.startswith("hook weight("))
    assert "by dapo ->" in weight


def test_the_trial_is_traced_on_the_second_level_only(trace):
    trace("1")
    compose("grpo")
    assert trace() == []
    trace("2")
    compose("grpo")
    assert any(line.startswith("hook rollout(prompts=2 Prompt, ") for line in trace())


def test_an_exception_is_an_answer_and_is_still_blamed(trace):
    class Faulty:
        @hookimpl
        def ratio(self):
            raise ZeroDivisionError("of\ncourse")

    trace("2")
    with pytest.raises(PluginError, match="'ratio' of plugin 'faulty' failed"):
        compose("grpo", Faulty)
    assert trace()[-1].endswith("by faulty -> ZeroDivisionError: of course")


@pytest.mark.parametrize("level", ["", "0"])
def test_it_is_off(trace, level):
    trace(level)
    step(compose("grpo"))
    assert trace() == []


def test_another_level_is_refused(trace):
    trace("yes")
    with pytest.raises(ConfigError, match="ANYPO_TRACE_HOOKS is 'yes'"):
        compose("grpo")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (torch.zeros(2, 1, dtype=torch.bfloat16), "[2, 1] bfloat16"),
        ({"a": torch.zeros(2)}, "{a: [2] float32}"),
        ([{"kl": None}], "[{kl: None}]"),
        ([], "[]"),
        ([object(), object()], "2 object"),
        ({"reference"}, "{'reference'}"),
        (object(), "object"),
        ("x" * 100, "'" + "x" * 59),
    ],
)
def test_values_are_shown_in_a_few_words(value, text):
    assert shown(value) == text
