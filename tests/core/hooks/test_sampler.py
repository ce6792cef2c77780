import pytest

from anypo import Prompt, SamplerError, SamplingRequest


def test_what_a_sampler_would_not_heed_is_refused():
    request = SamplingRequest(temperature=0.5, top_k=3)
    with pytest.raises(SamplerError, match=r"^the sampler cannot sample with top_k = 3$"):
        request.refuse_all_but("temperature")
    with pytest.raises(SamplerError, match=r"^the sampler cannot sample with temperature = 0\.5$"):
        request.refuse_all_but("top_k")
    request.refuse_all_but("temperature", "top_k")


def test_a_completion_ends_with_its_first_end_token():
    request = SamplingRequest(end_tokens=(7, 9))
    assert request.ending([1, 9, 7, 2]) == 2
    assert request.ending([7]) == 1
    assert request.ending([1, 2]) is None
    assert request.ending([]) is None


@pytest.mark.parametrize(
    ("text", "ending"),
    [("so\n\nwell", 4), ("so\n\n#", 4), ("soQ:", 4), ("#\n\n", 1), ("\n", None), ("", None)],
)
def test_or_with_the_token_that_completes_a_text(text, ending):
    request = SamplingRequest(
        end_tokens=(ord("#"),), stop=("\n\n", "Q:"), decode=lambda ids: "".join(map(chr, ids))
    )
    assert request.ending(list(map(ord, text))) == ending


def test_a_completion_is_what_stands_up_to_its_end():
    request = SamplingRequest([Prompt([5], ""), Prompt([6], "")], end_tokens=(7,))
    ended = request.sample(1, [1, 7, 0], [-0.1, -0.2, 0.0])
    assert (ended.prompt_ids, ended.completion_ids, ended.group) == ([6], [1, 7], 1)
    assert (ended.logprobs, ended.truncated) == ([-0.1, -0.2], False)
    cut = request.sample(0, [1, 2], [-0.1, -0.2])
    assert (cut.completion_ids, cut.truncated) == ([1, 2], True)


def test_what_every_sampler_must_heed_and_what_has_its_default_is_not():
    request = SamplingRequest([Prompt([1], "")], 3, (7,), max_completion_length=5, top_p=1.0)
    request.refuse_all_but()
