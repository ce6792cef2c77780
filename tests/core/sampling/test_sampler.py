"""What a run says of sampling, whoever samples."""

from dataclasses import replace

from anypo import Prompt, SamplingRequest
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
