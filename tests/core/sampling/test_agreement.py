from dataclasses import replace

import pytest
import torch

from anypo.errors import SamplerError
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import SamplingRequest
from anypo.sampling.agreement import check_agreement
from anypo.sampling.generate import TransformersEngine

REQUEST = SamplingRequest(end_tokens=(257,), temperature=0.7)


class Shifted(TransformersEngine):
    """Reports log-probs that are a little too high."""

    by = 0.02

    def sample(self, request):
        drawn = super().sample(request)
        return [replace(s, logprobs=[x + self.by for x in s.logprobs]) for s in drawn]


def check(model, engine=TransformersEngine, dtype=torch.float32, longest=512):
    runtime = Runtime(dtype=dtype)
    check_agreement(engine(model, runtime), model, REQUEST, runtime, longest)


@pytest.mark.parametrize("longest", [1, 5, 512])
def test_a_sampler_that_means_the_same_model_is_accepted(model, longest):
    check(model, longest=longest)


def test_nothing_is_longer_than_in_the_run(model):
    class Narrow(TransformersEngine):
        def sample(self, request):
            assert max(len(p.ids) for p in request.prompts) == 5
            assert request.max_completion_length == 2
            return super().sample(request)

    few = replace(REQUEST, max_completion_length=2)
    check_agreement(Narrow(model, Runtime()), model, few, Runtime(), 5)


def test_one_that_does_not_is_refused(model):
    with pytest.raises(SamplerError, match=r"from Qwen3ForCausalLM are 0\.02 nats "):
        check(model, Shifted)


def test_what_bfloat16_explains_is_no_reason(model):
    check(model, Shifted, torch.bfloat16)


def test_one_token_that_falls_to_another_expert_in_bfloat16_is_no_reason(model):
    class Flipped(TransformersEngine):
        def sample(self, request):
            first, *others = super().sample(request)
            return [replace(first, logprobs=[first.logprobs[0] - 3, *first.logprobs[1:]]), *others]

    check(model, Flipped, torch.bfloat16)
    with pytest.raises(SamplerError, match="3 nats"):
        check(model, Flipped)


def test_one_that_reports_nothing_is_not_compared(model):
    class Silent(TransformersEngine):
        def sample(self, request):
            return [replace(sample, logprobs=None) for sample in super().sample(request)]

    check(model, Silent)


def test_no_random_number_of_the_run_is_used_up(model):
    before = torch.get_rng_state()
    check(model)
    assert torch.equal(torch.get_rng_state(), before)
