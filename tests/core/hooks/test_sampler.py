import pytest

from anypo import Prompt, SamplerError, SamplingRequest


def test_what_a_sampler_would_not_heed_is_refused():
    request = SamplingRequest(temperature=0.5, top_k=3)
    with pytest.raises(SamplerError, match=r"^the sampler cannot sample with top_k = 3$"):
        request.refuse_all_but("temperature")
    with pytest.raises(SamplerError, match=r"^the sampler cannot sample with temperature = 0\.5$"):
        request.refuse_all_but("top_k")
    request.refuse_all_but("temperature", "top_k")


def test_what_every_sampler_must_heed_and_what_has_its_default_is_not():
    request = SamplingRequest([Prompt([1], "")], 3, (7,), max_completion_length=5, top_p=1.0)
    request.refuse_all_but()
