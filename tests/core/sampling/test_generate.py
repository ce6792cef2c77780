import pytest
import torch
from tiny_models import WINDOW, tiny_config, tiny_model

from anypo import Prompt, collate, score_tokens
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import SamplingRequest
from anypo.sampling.generate import TransformersEngine

KINDS = ("llama", "gpt2", "gemma3_text", "mamba", "qwen3_next", "bloom", "recurrent_gemma", "xlstm")


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", [*KINDS, "rwkv"])
def test_whatever_the_model_log_probs_are_the_trainers(kind, tokenizer):
    model = tiny_model(tiny_config(kind, tokenizer))
    prompts = [Prompt([40 + i for i in range(n)], "") for n in (1, 3, 2 * WINDOW, 3)]
    request = SamplingRequest(prompts, 2, (tokenizer.eos_token_id,), max_completion_length=4)
    torch.manual_seed(0)
    samples = TransformersEngine(model, Runtime()).sample(request)
    assert [sample.group for sample in samples] == [0, 0, 1, 1, 2, 2, 3, 3]
    batch = collate(samples)
    with torch.no_grad():
        logprobs = score_tokens(model, batch, temperature=1.0).logprobs
    torch.testing.assert_close(logprobs, batch.sampler_logprobs, rtol=0, atol=1e-5)


def test_in_bfloat16_the_log_probs_are_the_trainers_to_its_rounding(model):
    runtime = Runtime(dtype=torch.bfloat16)
    prompts = [Prompt([40 + i for i in range(n)], "") for n in (1, 3, 12)]
    request = SamplingRequest(prompts, 4, (257,), max_completion_length=8)
    torch.manual_seed(0)
    batch = collate(TransformersEngine(model, runtime).sample(request))
    with torch.no_grad(), runtime.autocast():
        logprobs = score_tokens(model, batch, temperature=1.0).logprobs
    gaps = (logprobs - batch.sampler_logprobs)[batch.mask].abs()
    assert gaps.median() < 0.05
    assert gaps.max() > 1e-5  # otherwise it was no bfloat16
