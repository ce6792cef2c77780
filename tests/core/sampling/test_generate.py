from itertools import chain

import pytest
import torch
from tiny_models import WINDOW, tiny_config, tiny_model

from anypo import Prompt, collate, score_tokens
from anypo.hooks.runtime import Runtime
from anypo.hooks.sampler import Memory, SamplingRequest
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


def test_of_no_prompts_there_are_no_completions(model):
    assert TransformersEngine(model, Runtime()).sample(SamplingRequest((), 2, (1,))) == []


ENDS = tuple(range(128))  # half of all tokens, so that completions are of some lengths
HEARD = [200, 201, 202]


def turns(engine, memory, limit=12):
    """The samples of three turns, each of which goes on from the last, of three conversations."""
    torch.manual_seed(0)
    prompts, found = [Prompt([200 + i for i in range(n)], "") for n in (2, 9, 9)], []
    for turn in range(3):
        if memory:
            memory.is_over = turn == 2
        request = SamplingRequest(prompts, 1, ENDS, limit, memory=memory)
        found.append(engine.sample(request))
        heard = zip(found[-1], (HEARD, HEARD[:1], []), strict=True)
        prompts = [Prompt(s.prompt_ids + s.completion_ids + more, "") for s, more in heard]
    return found


@pytest.fixture
def read(monkeypatch):
    """The numbers of texts that engines begin, and of those of which something is known."""
    begun, begin = [], TransformersEngine.begin

    def noted(self, prompts, known=()):
        begun.append((len(prompts), len(known)))
        return begin(self, prompts, known)

    monkeypatch.setattr(TransformersEngine, "begin", noted)
    return begun


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", [*KINDS, "qwen3"])
def test_who_goes_on_from_what_is_remembered_draws_the_same(kind, tokenizer, read):
    model = tiny_model(tiny_config(kind, tokenizer))
    engine = TransformersEngine(model, Runtime())
    memory = Memory()
    again, anew = turns(engine, memory), turns(engine, None)
    known = sum(some for _, some in read)
    assert known == (6 if engine.goes_on else 0)
    assert engine.goes_on == (kind in ("llama", "gpt2", "qwen3"))
    assert not memory.held
    for mine, other in zip(chain(*again), chain(*anew), strict=True):
        assert mine.completion_ids == other.completion_ids
        assert mine.logprobs == pytest.approx(other.logprobs, abs=1e-5)


def test_no_more_is_remembered_than_there_is_room_for(model, read):
    small = TransformersEngine(model, Runtime(token_budget=5))  # of which four times as much fits
    memory = Memory()
    turns(small, memory, limit=8)
    assert sum(some for _, some in read) in range(1, 6)
