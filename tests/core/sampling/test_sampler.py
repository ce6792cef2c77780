"""What a run says of sampling, whoever samples."""

from contextlib import contextmanager, nullcontext
from dataclasses import replace

import pytest

from anypo import DataError, Prompt, Sample, SamplerError, SamplingRequest, Tokens
from anypo.hooks.batch import Completion
from anypo.sampling.sampler import PolicySampler

REQUEST = SamplingRequest(end_tokens=(3, 4), max_completion_length=7, temperature=0.7)


class Engine:
    """Writes down what it is asked."""

    def __init__(self):
        self.calls = []

    def sample(self, request):
        self.calls.append(request)
        return ["a completion"]

    def sync(self, model):
        self.calls.append(model)

    def close(self):
        self.calls.append("close")


def test_every_request_says_how_the_run_samples():
    sampler, prompts = PolicySampler(Engine(), REQUEST), [Prompt([65], "")]
    assert sampler.sample(prompts, 5) == ["a completion"]
    assert sampler.engine.calls == [replace(REQUEST, prompts=prompts, n=5)]
    assert sampler.max_completion_length == 7


def test_the_engine_is_synced_and_closed(model):
    sampler = PolicySampler(Engine(), REQUEST)
    sampler.sync(model)
    sampler.close()
    assert sampler.engine.calls == [model, "close"]


class Broken:
    """An engine that fails."""

    def sample(self, request):
        raise SystemExit(0)

    def sync(self, model):
        raise IndexError("no such token")


def test_a_failure_of_the_engine_is_told_as_such():
    sampler = PolicySampler(Broken(), SamplingRequest())
    with pytest.raises(
        SamplerError, match=r"^the sampler \(Broken\) failed: SystemExit: 0 \(.*:\d"
    ):
        sampler.sample([], 1)
    with pytest.raises(SamplerError, match=r"^the sampler \(Broken\) failed: IndexError: no such"):
        sampler.sync(None)


@pytest.mark.parametrize(
    ("how", "asked"),
    [
        ({"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}),
        ({"top_k": 20, "temperature": None}, {"top_k": 20}),
        ({"greedy": True}, {"top_k": 1}),
    ],
)
def test_a_rollout_may_say_otherwise_how_is_drawn(how, asked):
    sampler, prompts = PolicySampler(Engine(), REQUEST), [Prompt([65], "")]
    sampler.sample(prompts, 2, **how)
    sampler.sample(prompts, 2)
    usual = replace(REQUEST, prompts=prompts, n=2)
    assert sampler.engine.calls == [replace(usual, **asked), usual]


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ({"temperature": 0}, "asks for temperature = 0, with which none draws"),
        ({"temperature": -1.0}, "temperature = -1.0"),
        ({"top_p": 2}, "top_p = 2"),
        ({"top_k": -3}, "top_k = -3"),
        ({"model": "foo"}, "draws from 'foo', but there is policy"),
    ],
)
def test_what_cannot_be_drawn_is_refused(how, said):
    with pytest.raises(SamplerError, match=said):
        PolicySampler(Engine(), REQUEST).sample([Prompt([65], "")], 2, **how)


def test_another_model_draws_and_then_the_policy_again():
    sampler, prompts = PolicySampler(Engine(), REQUEST), [Prompt([65], "")]

    @contextmanager
    def lent():
        yield "the reference", "the policy"

    sampler.models = {"reference": lent}
    sampler.sample(prompts, 2, model="reference", greedy=True)
    drawn = replace(REQUEST, prompts=prompts, n=2, top_k=1)
    assert sampler.engine.calls == ["the reference", drawn, "the policy"]


def test_the_policy_is_back_when_another_fails_to_draw(monkeypatch):
    sampler = PolicySampler(Engine(), REQUEST)
    sampler.models = {"reference": lambda: nullcontext(("the reference", "the policy"))}
    monkeypatch.setattr(sampler.engine, "sample", Broken().sample)
    with pytest.raises(SamplerError, match="SystemExit"):
        sampler.sample([], 2, model="reference")
    assert sampler.engine.calls == ["the reference", "the policy"]


def test_a_prompt_is_followed_by_a_text_or_messages(tokenizer):
    sampler = PolicySampler(Engine(), REQUEST, tokens=Tokens(tokenizer))
    held = {"completion": Completion([5])}
    text = sampler.followed_by(Prompt([1], "1+1", {"a": 1}, held), "=")
    assert text == Prompt(tokenizer.encode("1+1="), "1+1=", {"a": 1})
    asked = [{"role": "user", "content": "1+1"}]
    more = sampler.followed_by(Prompt([1], asked), "?")
    assert more.content == [{"role": "user", "content": "1+1?"}]
    assert tokenizer.decode(more.ids) == "<|user|>1+1?<|assistant|>"
    further = [{"role": "assistant", "content": "3"}, {"role": "user", "content": "no"}]
    told = sampler.followed_by(Prompt([1], asked), further)
    assert told.content == [*asked, *further]
    assert tokenizer.decode(told.ids).endswith("<|user|>no<|assistant|>")
    with pytest.raises(DataError, match="messages cannot follow a prompt that is a text"):
        sampler.followed_by(Prompt([1], "1+1"), further)


def test_a_completion_is_read_as_text(tokenizer):
    sampler = PolicySampler(Engine(), REQUEST, tokens=Tokens(tokenizer))
    ids = [*tokenizer.encode("two"), tokenizer.eos_token_id]
    assert sampler.text(Sample([1], ids, 0)) == "two"
