from dataclasses import replace

import pytest
import torch

from anypo.hooks.batch import Prompt, collate
from anypo.models.forward import score_tokens
from anypo.sampling.transformers import TransformersSampler

ENDS = list(range(40))  # often enough that some completions end and some do not
PROMPTS = [Prompt(list(range(50, 50 + n)), "") for n in (4, 1, 7, 2, 3)]


def make_sampler(model, temperature=0.7, end_tokens=ENDS, length=12, budget=10_000):
    return TransformersSampler(
        model,
        end_tokens=end_tokens,
        temperature=temperature,
        max_completion_length=length,
        token_budget=budget,
    )


def sampled(sampler, n=4, prompts=PROMPTS):
    torch.manual_seed(0)
    return sampler.sample(prompts, n)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_log_probs_are_the_trainers_whatever_the_model_would_like_to_sample_with(
    model, temperature
):
    model.generation_config.top_k = 2
    model.generation_config.temperature = 3.0
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.suppress_tokens = [60, 61, 62]
    samples = sampled(make_sampler(model, temperature))
    batch = collate([replace(sample, reward=0.0) for sample in samples])
    logprobs = score_tokens(model, batch, temperature=temperature).logprobs
    torch.testing.assert_close(logprobs, batch.sampler_logprobs, rtol=1e-4, atol=1e-4)
    assert model.generation_config.top_k == 2


def test_samples_come_prompt_by_prompt(model):
    samples = sampled(make_sampler(model, budget=20), n=3)
    assert [s.group for s in samples] == [g for g in range(len(PROMPTS)) for _ in range(3)]
    assert all(s.prompt_ids == PROMPTS[s.group].ids for s in samples)


def test_a_completion_stops_at_its_first_end_token_and_keeps_it(model, check_ends):
    check_ends(sampled(make_sampler(model)), ENDS, limit=12)


def test_the_length_limit_is_kept_to_one_token(model):
    samples = sampled(make_sampler(model, length=1))
    assert all(len(s.completion_ids) == 1 for s in samples)


def test_the_same_seed_gives_the_same_samples_and_copies_differ(model):
    first, second = (sampled(make_sampler(model)) for _ in range(2))
    assert first == second
    assert len({tuple(s.completion_ids) for s in first[:4]}) > 1


def test_tokens_are_drawn_with_the_probabilities_of_the_model(model):
    prompt = Prompt([65], "")
    with torch.no_grad():
        expected = (model(torch.tensor([[65]])).logits[0, -1] / 0.7).softmax(-1)
    samples = sampled(make_sampler(model, length=1), n=4000, prompts=[prompt])
    drawn = torch.bincount(torch.tensor([s.completion_ids[0] for s in samples]), minlength=263)
    top = expected.topk(5).indices
    torch.testing.assert_close(drawn[top] / 4000, expected[top], rtol=0, atol=0.03)


def test_sync_follows_another_model(model):
    sampler = make_sampler(model)
    before = sampled(sampler)
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(-1)
    sampler.sync(model)
    assert sampled(sampler) != before
