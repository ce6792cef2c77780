"""What a run says of sampling, whoever samples."""

from dataclasses import replace

import pytest

from anypo import Prompt, SamplerError, SamplingRequest
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
