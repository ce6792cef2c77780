import pytest
import torch
from tiny_models import WINDOW, tiny_config, tiny_model

from anypo import Prompt, collate, score_tokens
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import SamplingRequest
from anypo.sampling.continuation import can_pad
from anypo.sampling.generate import TransformersEngine

PADDED = ("llama", "gpt2", "gemma3_text", "llama with a leftover sliding_window")
TOGETHER = ("mamba", "lfm2", "qwen3_next", "bloom")


@pytest.mark.parametrize("kind", [*PADDED, *TOGETHER])
def test_whatever_the_model_log_probs_are_the_trainers(kind, tokenizer):
    model = tiny_model(tiny_config(kind, tokenizer))
    assert can_pad(model) == (kind in PADDED)
    prompts = [Prompt([40 + i for i in range(n)], "") for n in (1, 3, 2 * WINDOW, 3)]
    request = SamplingRequest(prompts, 2, (tokenizer.eos_token_id,), max_completion_length=4)
    torch.manual_seed(0)
    samples = TransformersEngine(model, Runtime()).sample(request)
    assert [sample.group for sample in samples] == [0, 0, 1, 1, 2, 2, 3, 3]
    batch = collate(samples)
    with torch.no_grad():
        logprobs = score_tokens(model, batch, temperature=1.0).logprobs
    torch.testing.assert_close(logprobs, batch.sampler_logprobs, rtol=0, atol=1e-5)
