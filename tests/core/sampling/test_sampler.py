"""What a run says of sampling, whoever samples."""

from dataclasses import replace

import torch

from anypo import Prompt, Runtime, SamplingRequest
from anypo.sampling.sampler import start_sampler
from anypo.sampling.transformers import Transformers

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


class Plugin(Transformers):
    """Starts such an engine."""

    def start(self, model, runtime, max_length):
        engine = Engine()
        engine.calls.append((model, runtime, max_length, torch.get_num_threads()))
        return engine


def test_every_request_says_how_the_run_samples(model):
    sampler, prompts = start_sampler(Plugin(), REQUEST, model, Runtime(), 99), [Prompt([65], "")]
    assert sampler.sample(prompts, 5) == ["a completion"]
    assert sampler.engine.calls[1] == replace(REQUEST, prompts=prompts, n=5)
    assert sampler.max_completion_length == 7


def test_the_engine_is_synced_and_closed(model):
    sampler = start_sampler(Plugin(), REQUEST, model, Runtime(), 99)
    sampler.sync(model)
    sampler.close()
    assert sampler.engine.calls[1:] == [model, "close"]


def test_it_starts_with_the_policy_and_for_a_tiny_one_on_one_thread(model):
    torch.set_num_threads(2)
    try:
        sampler = start_sampler(Plugin(), REQUEST, model, Runtime(), 99)
        assert sampler.engine.calls == [(model, Runtime(), 99, 1)]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
