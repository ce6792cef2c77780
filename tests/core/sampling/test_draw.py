import pytest
import torch

from anypo.hooks.sampler import SamplingRequest
from anypo.sampling.draw import asked_for, draw

LOGITS = torch.tensor([[0.3, -1.2, 2.0, 0.0, -torch.inf, 1.1]])
ALMOST_ONE = 1 - 2**-24  # the largest number that torch.rand draws


def drawn(logits, numbers):
    return draw(logits.repeat(len(numbers), 1), torch.as_tensor(numbers))


def test_tokens_are_drawn_as_often_as_their_probabilities_say():
    torch.manual_seed(0)
    tokens, _ = drawn(LOGITS, torch.rand(20_000))
    frequencies = torch.bincount(tokens, minlength=6) / 20_000
    torch.testing.assert_close(frequencies, LOGITS.softmax(-1)[0], rtol=0, atol=0.01)


def test_the_log_probs_are_those_of_the_tokens():
    tokens, logprobs = drawn(LOGITS, torch.linspace(0, ALMOST_ONE, 50))
    assert set(tokens.tolist()) == {0, 1, 2, 3, 5}
    torch.testing.assert_close(logprobs, LOGITS.log_softmax(-1)[0, tokens])


@pytest.mark.parametrize("seen", [0, 1, 500, 999])
@pytest.mark.parametrize("number", [0.0, 0.5, ALMOST_ONE, 1.0])
def test_no_token_of_probability_0_is_drawn_at_either_end(seen, number):
    for low in (-torch.inf, -200.0):  # as good as 0: less than float32 has
        logits = torch.full((1, 1000), low)
        logits[0, seen] = 3.0
        tokens, logprobs = drawn(logits, [number])
        assert (tokens.item(), logprobs.item()) == (seen, 0.0)


def test_no_token_of_probability_0_is_drawn_where_the_sum_is_rounded():
    torch.manual_seed(0)
    logits = 3 * torch.randn(256, 5000)
    logits[:, 3000:] = -torch.inf
    tokens, _ = draw(logits, torch.full((256,), ALMOST_ONE))
    assert tokens.max() < 3000


def cut(**request):
    return asked_for(LOGITS.clone(), SamplingRequest(**request))[0].softmax(-1)


def test_a_cut_leaves_the_likeliest_tokens():
    likely = LOGITS[0].softmax(-1).sort(descending=True)
    assert likely.indices[:3].tolist() == [2, 5, 0]
    for request in ({"top_k": 2}, {"top_p": float(likely.values[:2].sum()) - 0.01}):
        probabilities = cut(**request)
        assert probabilities.nonzero().flatten().tolist() == [2, 5]
        torch.testing.assert_close(probabilities[2] / probabilities[5], torch.tensor(0.9).exp())


def test_the_likeliest_token_is_always_left():
    for request in ({"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-3}):
        torch.testing.assert_close(cut(**request), torch.tensor([0.0, 0, 1, 0, 0, 0]))


def test_all_tokens_are_left_where_nothing_is_cut():
    for request in ({}, {"top_k": 100}):
        torch.testing.assert_close(cut(**request), LOGITS[0].softmax(-1))


def test_the_temperature_divides_the_logits():
    torch.testing.assert_close(cut(temperature=0.5), (2 * LOGITS[0]).softmax(-1))


def test_of_tokens_that_are_as_likely_no_more_are_kept_than_asked_for():
    logits = asked_for(torch.tensor([[1.0, 2.0, 2.0, 0.0]]), SamplingRequest(top_k=1))
    assert (logits > -torch.inf).sum() == 1
